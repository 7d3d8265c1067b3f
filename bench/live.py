"""How soon an operator sees output, and how soon a cancelled task is gone.

    python bench/live.py [--json] [--samples 120] [--polls 30] [--cancels 64]

First output: from POST /tasks to the bytes of the first ``output`` event in the operator's hands, with the control
stream up. Tasks are created PAUSE_S apart: the agent paces its requests, and who creates task after task measures that.
Beside it in the same run: the same script on the base wire, polled once a second, where output comes with the result
(creations are spread over the phase of the poll); and the floor, a plain ``subprocess`` of the same script from its
start to its first byte.

Cancel: from POST /tasks/ID/cancel to the moment at which no process of the script is alive, less the grace. Nobody is
asked for that: processes carry the task's id in their environment, and their ends are awaited by pidfd. The scripts
ignore SIGTERM and fork, each in its own way, half of them in a cell and half at level host.
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from latency import FIXED_POLL, stamp
from marked_processes import tree_of
from rig import NODE, Plane, agent, control_plane, emit, machine, wait_online, wait_until

from lattice_agent.exec.plan import Limits

SECONDS = 30.0
"""For anything that is waited for."""
PAUSE_S = 0.3
SPEAKS = "echo first; exec sleep 60"
GRACE_S = Limits.grace_s
LEVELS = ("strict", "host")
STUBBORN = {
    "one": "trap '' TERM; echo up; while :; do sleep 1; done",
    "tree": """trap '' TERM
grow() { if [ $1 -gt 0 ]; then for _ in 1 2 3; do grow $(($1 - 1)) & done; fi; while :; do sleep 1; done; }
grow 3 & grow 0 & sleep 0.3; echo up; wait""",
    "daemons": "trap '' TERM; for _ in 1 2 3 4 5 6 7 8; do setsid sleep 60 & done; sleep 0.2; echo up; wait",
    "forking": "trap '' TERM; echo up; while :; do sleep 0.3 & sleep 0.01; done",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--samples", type=int, default=120)
    parser.add_argument("--polls", type=int, default=30)
    parser.add_argument("--cancels", type=int, default=64)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    floor = [bare_first_byte() for _ in range(options.samples)]
    live = first_outputs(options.samples)
    polled = polled_outputs(options.polls)
    over_grace = {level: cancels(level, options.cancels // len(LEVELS)) for level in LEVELS}
    every = [seconds for level in over_grace.values() for kind in level.values() for seconds in kind]
    figures: dict[str, Any] = {
        "machine": machine(),
        "load": load,
        "first_output_live": spread(live),
        "first_output_polled": spread(polled),
        "first_output_bare": spread(floor),
        "cancel_over_grace": spread(every),
        "cancel_over_grace_by_kind": {
            f"{level}, {kind}": spread(seconds)
            for level, kinds in over_grace.items()
            for kind, seconds in kinds.items()
        },
    }
    lines = [
        f"machine: {figures['machine']}, load {load:.1f}",
        f"create to first output byte, control stream: {shown(figures['first_output_live'])}",
        f"the same on the base wire, polled once a second: {shown(figures['first_output_polled'])}",
        f"the same script as a bare subprocess, start to first byte: {shown(figures['first_output_bare'])}",
        f"cancel to last process gone, less {GRACE_S:g} s of grace: {shown(figures['cancel_over_grace'])}",
        *(f"  {name}: {shown(figure)}" for name, figure in figures["cancel_over_grace_by_kind"].items()),
    ]
    emit(options.json, figures, lines)


def bare_first_byte() -> float:
    began = time.perf_counter()
    with subprocess.Popen(["/bin/sh", "-c", SPEAKS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - began
        process.kill()
    return seconds


def first_outputs(samples: int) -> list[float]:
    found = []
    with control_plane() as plane, agent(plane):
        wait_told(plane)
        for _ in range(samples):
            began = time.perf_counter()
            task = plane.create(SPEAKS)
            with output_of(plane, task) as events:
                name, data = next(events)
                found.append(time.perf_counter() - began)
            if name != "output" or base64.b64decode(data["data"]) != b"first\n":
                raise SystemExit(f"the first event is {name}: {data}")
            cancel(plane, task)
            plane.wait(task)
            time.sleep(PAUSE_S)
    return found


def polled_outputs(samples: int) -> list[float]:
    found = []
    with control_plane(extensions=False) as plane, agent(plane, *FIXED_POLL):
        wait_online(plane)
        task = plane.wait(plane.create())
        for index in range(samples):
            time.sleep(max(0.0, stamp(task["started_at"]) + (index + 0.5) / samples - time.time()))
            began = time.perf_counter()
            created = plane.create("echo first")
            with output_of(plane, created) as events:
                _, data = next(events)
                found.append(time.perf_counter() - began)
            if data["result"]["stdout"] != "first\n":
                raise SystemExit(f"the result is {data}")
            task = plane.wait(created)
    return found


def cancels(level: str, number: int) -> dict[str, list[float]]:
    """Seconds from the cancel to the last process gone, less the grace, by kind of script."""
    found: dict[str, list[float]] = {kind: [] for kind in STUBBORN}
    with control_plane() as plane:
        policy = plane.place / "policy.toml"
        policy.write_text(f'min_level = "{level}"\ndefault_level = "{level}"\n')
        with agent(plane, "--policy", str(policy)):
            wait_told(plane)
            for index in range(number):
                kind = list(STUBBORN)[index % len(STUBBORN)]
                found[kind].append(cancelled(plane, STUBBORN[kind]) - GRACE_S)
    return found


def cancelled(plane: Plane, script: str) -> float:
    task = plane.create(script)
    with output_of(plane, task) as events:
        next(events)
    with tree_of(task) as tree:
        if not tree.seen:
            raise SystemExit(f"no process of {task} is seen")
        began = time.monotonic()
        cancel(plane, task)
        seconds = tree.wait_gone(SECONDS) - began
    plane.wait(task)
    return seconds


def cancel(plane: Plane, task: str) -> None:
    plane.api.post(f"/api/v1/tasks/{task}/cancel", json={}).raise_for_status()


def wait_told(plane: Plane) -> None:
    """Until the agent's control stream is open."""
    wait_until(lambda: bool(plane.api.get(f"/api/v1/nodes/{NODE}").json()["node"]["control_stream"]))


@contextmanager
def output_of(plane: Plane, task: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Events of the task's output, name and data, as they come; left early, the connection is closed."""
    with plane.api.stream("GET", f"/api/v1/tasks/{task}/output", params={"node": NODE}) as answer:
        answer.raise_for_status()
        yield events_in(answer.iter_raw())


def events_in(pieces: Iterator[bytes]) -> Iterator[tuple[str, Any]]:
    text = b""
    for piece in pieces:
        text += piece
        while b"\n\n" in text:
            block, _, text = text.partition(b"\n\n")
            if not block.startswith(b":"):
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
                yield fields["event"], json.loads(fields["data"])


def spread(seconds: list[float]) -> dict[str, float]:
    """In milliseconds; the p99 of fewer than a hundred is the largest."""
    ordered = sorted(1000 * second for second in seconds)
    return {
        "n": len(ordered),
        "median_ms": statistics.median(ordered),
        "p90_ms": ordered[int(len(ordered) * 0.9)],
        "p99_ms": ordered[int(len(ordered) * 0.99)],
        "largest_ms": ordered[-1],
    }


def shown(figure: dict[str, float]) -> str:
    return (
        f"median {figure['median_ms']:.1f} ms, p90 {figure['p90_ms']:.1f} ms, p99 {figure['p99_ms']:.1f} ms "
        f"(n={figure['n']:.0f})"
    )


if __name__ == "__main__":
    main()
