"""What a confined start costs beside an unconfined one and beside bubblewrap.

Usage: bench/sandbox.py [--json] [--n ROUNDS]

Every round runs each peer once, in shuffled order, so that whatever else the machine does hits all of them alike. The
script is ``:`` for sh everywhere. A cell's clock runs from the caller's call to the return of an outcome whose pid
namespace is known to be empty; the script file and the task's limits are part of it. Before each warm measurement two
cells are ready; what building them costs is measured apart, as is the throughput with all of it.

As root the cells have ids of their own, as another user a user namespace. bubblewrap gets comparable protections and
our own seccomp program.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from lattice_agent.exec import Outcome, Profile, Sandbox, SandboxClient, open_sandbox
from lattice_agent.exec.cell_ends import use_request
from lattice_agent.exec.cell_task import CellTask
from lattice_agent.exec.filter_export import export_filter
from lattice_agent.exec.plan import Level
from lattice_agent.exec.syscalls import Variant

SHELL = ["/bin/sh", "-c", ":"]
BUBBLEWRAP = [
    *("bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
    *("--unshare-cgroup", "--new-session", "--die-with-parent", "--clearenv", "--cap-drop", "ALL"),
    *("--uid", "1000", "--gid", "1000", "--hostname", "cell", "--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind", "/etc/alternatives", "/etc/alternatives"),
    *("--proc", "/proc", "--dev", "/dev", "--size", "67108864", "--tmpfs", "/tmp", "--dir", "/tmp/work"),
    *("--chdir", "/tmp/work", "--setenv", "PATH", "/usr/bin:/bin"),
]
FIREJAIL = [
    *("firejail", "--quiet", "--noprofile", "--private", "--private-tmp", "--private-dev"),
    *("--net=none", "--caps.drop=all", "--seccomp"),
]
SUSTAINED_S = 5.0
SEGMENTS = (
    "write the script, send the task",
    "get ready for output, tell the spawner",
    "exec, script, end of the init",
    "collect the outcome",
)
COLD_EVERY = 5
"""A cold start is measured in every fifth round: it needs a client of its own kind of cell."""
TRIO_PAUSE_S = 0.006
"""Before both trio peers, since whatever runs after a longer pause is slower: three times what building a cell takes.
"""
Measure = Callable[[], Awaitable[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--n", type=int, default=300, help="rounds (default 300)")
    arguments = parser.parse_args()
    result = trio.run(measure_all, arguments.n)
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))


async def measure_all(rounds: int) -> dict[str, object]:
    with SandboxClient() as client:
        async with open_sandbox() as sandbox:
            bubblewrap = Bubblewrap() if shutil.which("bwrap") else None
            times = await measure_rounds(rounds, peers(client, sandbox, bubblewrap))
            profile = profiled(rounds)
            memory = {"spawner_and_two_cells_pss_kib": pss_below(client)}
            sustained = {"cells": await sustained_cells(sandbox)}
            if bubblewrap is not None:
                sustained["bwrap"] = await trio.to_thread.run_sync(sustained_bubblewrap, bubblewrap)
    return {**summary(rounds, times, sustained, memory), "profile_us": profile}


def peers(client: SandboxClient, sandbox: Sandbox, bubblewrap: "Bubblewrap | None") -> dict[str, Measure]:
    found: dict[str, Measure] = {
        "posix_spawn": lambda: timed_sync(spawned),
        "subprocess.run": lambda: timed_sync(plain),
        "trio.run_process": timed_trio_process,
        "cell, synchronous": lambda: timed_cell(client),
        "cell, trio": lambda: timed_trio_cell(sandbox),
        "building a cell": lambda: timed_build(client),
        "cell, cold": timed_cold,
    }
    if bubblewrap is not None:
        found["bwrap"] = lambda: timed_sync(bubblewrap.run)
    if shutil.which("firejail"):
        found["firejail"] = lambda: timed_sync(firejail)
    return found


async def measure_rounds(rounds: int, found: dict[str, Measure]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds):
        for name in random.sample(list(found), len(found)):
            if name in ("cell, cold", "firejail") and number % COLD_EVERY:
                continue
            times[name].append(await found[name]())
    return times


def plain() -> None:
    subprocess.run(SHELL, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def spawned() -> None:
    """The floor: no pipes, nothing captured."""
    pid = os.posix_spawn(SHELL[0], SHELL, {})
    os.waitpid(pid, 0)


def firejail() -> None:
    subprocess.run([*FIREJAIL, *SHELL], stdin=subprocess.DEVNULL, capture_output=True, check=True)


class Bubblewrap:
    """bwrap with the command line above and the filter of a cell."""

    def __init__(self) -> None:
        self._filter = os.memfd_create("filter")
        os.write(self._filter, export_filter(Variant(inet=True, memory_watch=True)))

    def run(self) -> None:
        fd = os.open(f"/proc/self/fd/{self._filter}", os.O_RDONLY)  # a position of its own
        try:
            command = [*BUBBLEWRAP, "--seccomp", str(fd), *SHELL]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, pass_fds=[fd])
        finally:
            os.close(fd)


async def timed_sync(run: Callable[[], None]) -> float:
    await trio.sleep(0.002)  # what the last measurement left to do is done
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


async def timed_trio_process() -> float:
    await trio.sleep(TRIO_PAUSE_S)
    started = time.perf_counter()
    await trio.run_process(SHELL, capture_stdout=True, capture_stderr=True)
    return time.perf_counter() - started


async def timed_cell(client: SandboxClient) -> float:
    client.refill(wait_s=10)
    await trio.sleep(0.002)
    started = time.perf_counter()
    outcome = client.run(":")
    taken = time.perf_counter() - started
    assert outcome.exit_code == 0, outcome
    return taken


async def timed_trio_cell(sandbox: Sandbox) -> float:
    await trio.sleep(TRIO_PAUSE_S)  # its pool refills by itself
    started = time.perf_counter()
    outcome = await sandbox.run(":")
    taken = time.perf_counter() - started
    assert outcome.exit_code == 0, outcome
    return taken


async def timed_build(client: SandboxClient) -> float:
    """From the request to the cell that waits, one at a time."""
    client.refill(wait_s=10)
    assert client.run(":").exit_code == 0
    started = time.perf_counter()
    client.refill(wait_s=10)
    return time.perf_counter() - started


async def timed_cold() -> float:
    """A start whose cell has to be built first, in a spawner that has its template."""
    with SandboxClient(Profile(Level.STRICT, work_inodes=4096), keep=0) as client:
        assert client.run(":").exit_code == 0  # template and filter
        started = time.perf_counter()
        outcome = client.run(":")
        taken = time.perf_counter() - started
        assert outcome.exit_code == 0, outcome
    return taken


class ProfiledClient(SandboxClient):
    """Notes when each part of a run was over."""

    def __init__(self) -> None:
        super().__init__()
        self.stamps: list[list[float]] = []

    def _conduct(self, task: CellTask) -> Outcome:
        stamps = [time.perf_counter()]
        task.dispatch()
        stamps.append(time.perf_counter())
        task.attend()
        self._send(use_request(task.cell.number, task.plan.limits, self._successor()))
        stamps.append(time.perf_counter())
        self._wait(task, task.plan.limits.wall_s)
        stamps.append(time.perf_counter())
        outcome = task.outcome(0.0, None, memory_peak=0, memory_hit=False)
        stamps.append(time.perf_counter())
        self.stamps.append(stamps)
        return outcome


def profiled(rounds: int) -> dict[str, float]:
    """Where the time of a warm start goes: medians in microseconds."""
    with ProfiledClient() as client:
        for _ in range(rounds):
            client.refill(wait_s=10)
            time.sleep(0.002)
            client.run(":")
        spans = [[later - earlier for earlier, later in itertools.pairwise(stamps)] for stamps in client.stamps]
    return {name: round(statistics.median(span[at] for span in spans) * 1e6) for at, name in enumerate(SEGMENTS)}


async def sustained_cells(sandbox: Sandbox) -> float:
    """Starts a second, two at a time, with everything it takes to have the next cells."""
    done = 0
    deadline = time.perf_counter() + SUSTAINED_S

    async def keep_on() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            outcome = await sandbox.run(":")
            assert outcome.exit_code == 0, outcome
            done += 1

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_on)
        nursery.start_soon(keep_on)
    return done / (time.perf_counter() - started)


def sustained_bubblewrap(bubblewrap: Bubblewrap) -> float:
    done = [0, 0]
    deadline = time.perf_counter() + SUSTAINED_S

    def keep_on(number: int) -> None:
        while time.perf_counter() < deadline:
            bubblewrap.run()
            done[number] += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=keep_on, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - started)


def pss_below(client: SandboxClient) -> int:
    """Proportional memory of the spawner and all below it, with two cells ready."""
    assert client.refill(wait_s=10) == 2
    pids = [client.spawner_pid]
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += [int(child) for child in (task / "children").read_text().split()]
    rolled = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in pids]
    return sum(int(line.split()[1]) for lines in rolled for line in lines if line.startswith("Pss:"))


def summary(
    rounds: int, times: dict[str, list[float]], sustained: dict[str, float], memory: dict[str, int]
) -> dict[str, object]:
    median = {name: statistics.median(values) for name, values in times.items()}
    result: dict[str, object] = {
        "rounds": rounds,
        "ms": {name: spread(values) for name, values in times.items()},
        "ratio_vs_subprocess": median["cell, synchronous"] / median["subprocess.run"],
        "ratio_trio_vs_run_process": median["cell, trio"] / median["trio.run_process"],
        "starts_per_s_two_at_a_time": sustained,
        **memory,
    }
    if "bwrap" in median:
        result["ratio_vs_bwrap"] = median["cell, synchronous"] / median["bwrap"]
        result["ratio_build_vs_bwrap"] = median["building a cell"] / median["bwrap"]
        result["ratio_sustained_vs_bwrap"] = sustained["cells"] / sustained["bwrap"]
    return result


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(value * 1000 for value in values)
    return {
        "median": round(statistics.median(ordered), 3),
        "min": round(ordered[0], 3),
        "p99": round(ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)], 3),
        "n": len(ordered),
    }


def as_text(result: dict[str, object]) -> str:
    lines = [f"{'':22}{'median':>10}{'min':>10}{'p99':>10}{'n':>6}   (ms)"]
    spreads = result["ms"]
    assert isinstance(spreads, dict)
    for name, of_name in sorted(spreads.items(), key=lambda item: float(item[1]["median"])):
        lines.append(
            f"{name:22}" + "".join(f"{of_name[key]:10.2f}" for key in ("median", "min", "p99")) + f"{of_name['n']:6}"
        )
    for key, value in result.items():
        if key.startswith("ratio"):
            lines.append(f"{key:30}{value:8.3f}")
    lines.append(f"where a warm start spends its time (us): {result['profile_us']}")
    lines.append(f"starts a second, two at a time: {result['starts_per_s_two_at_a_time']}")
    lines.append(f"spawner and two ready cells: {result['spawner_and_two_cells_pss_kib']} KiB PSS")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
