"""1 GiB of output: it grows nobody and delays nobody. In a process of its own, whose peak memory is its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.hostile.rig import REPOSITORY

MEBIBYTE_KB = 1024

PROGRAM = """
import json, sys, time
from pathlib import Path
import trio
from tests.hostile.rig import a_runner, children_of, kilobytes, kilobytes_if_alive, plan

async def main():
    gaps = []
    peaks = {}

    def now():
        # Without the time that this thread waited for a processor: how busy the machine is, is not what is measured.
        _run_ns, waited_ns, _slices = map(int, Path("/proc/self/schedstat").read_text().split())
        return time.monotonic() - waited_ns / 1e9

    async def heartbeat(runner):
        last = now()
        while True:
            await trio.sleep(0.01)
            gaps.append(now() - last)
            last = now()
            for pid in children_of(runner.spawner_pid):
                if (peak := kilobytes_if_alive(pid, "VmHWM")) is not None:
                    peaks.setdefault(pid, []).append(peak)

    async with a_runner() as runner:
        await runner.run(plan("echo warm"))
        before = kilobytes("self", "VmHWM")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeat, runner)
            outcome = await runner.run(plan(SCRIPT, output_bytes=262144))
            nursery.cancel_scope.cancel()
        after = kilobytes("self", "VmHWM")
    print(json.dumps({
        "kind": outcome.kind, "code": outcome.exit_code,
        "kept": [len(outcome.stdout.kept), len(outcome.stderr.kept)],
        "produced": [outcome.stdout.produced, outcome.stderr.produced],
        "agent_kb": after - before,
        "supervisor_kb": max(seen[-1] - seen[0] for seen in peaks.values()),
        "largest_gap_s": max(gaps), "beats": len(gaps),
    }))
"""


def flood(script: str) -> dict[str, Any]:
    """What the program measured of the script."""
    done = subprocess.run(
        [sys.executable, "-c", f"SCRIPT = {script!r}\n{PROGRAM}\ntrio.run(main)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.hostile
@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "produced"),
    [
        ("sleep 0.05; head -c 1073741824 /dev/zero; exit 7", [1 << 30, 0]),
        pytest.param(
            "sleep 0.05; head -c 536870912 /dev/zero & head -c 536870912 /dev/zero >&2; wait; exit 7",
            [1 << 29, 1 << 29],
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_gibibyte_of_output_grows_nothing_and_delays_no_heartbeat(
    script: str, produced: list[int], record_property: object
) -> None:
    result = flood(script)
    assert (result["kind"], result["code"], result["produced"]) == ("output_limit", 7, produced)
    assert result["kept"] == [min(262_144, size) for size in produced]
    assert result["agent_kb"] + result["supervisor_kb"] < 8 * MEBIBYTE_KB, result
    assert result["largest_gap_s"] < 0.5, result  # generous: a tick of 10 ms
    assert result["beats"] > 5
