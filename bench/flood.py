"""How fast a script can write, whatever becomes of its output.

    python bench/flood.py [--json] [--rounds 5]

The script times itself while it writes 1 GiB: as a task whose output nobody asks for (base wire), as one that is
watched, and as one whose control stream is stuck, because the control plane's process was stopped (SIGSTOP) before the
flood. Beside it the same script as a bare subprocess, into a pipe that is read and thrown away. Every round has all of
them; the figures that count are the ratios within a round.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
from typing import Any

from live import SECONDS, output_of, wait_told
from marked_processes import tree_of
from rig import Plane, agent, control_plane, emit, machine, wait_online

GIBIBYTE = 1 << 30
SCRIPT = f"""
import os, sys, time
print("begun", flush=True)
time.sleep(0.5)
piece, began = bytes(65536), time.monotonic()
for _ in range({GIBIBYTE} // 65536):
    os.write(1, piece)
sys.stderr.write(str(time.monotonic() - began))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rates: dict[str, list[float]] = {"unwatched": [], "watched": [], "stuck": [], "pipe": []}
    for _ in range(options.rounds):
        with control_plane(extensions=False) as plane, agent(plane):
            wait_online(plane)
            rates["unwatched"].append(rate_of_task(plane))
        with control_plane() as plane, agent(plane):
            wait_told(plane)
            rates["watched"].append(rate_of_task(plane))
            rates["stuck"].append(rate_of_task(plane, stuck=True))
        rates["pipe"].append(rate_into_pipe())
    ratios = {
        name: statistics.median(rate / floor for rate, floor in zip(rates[name], rates["unwatched"], strict=True))
        for name in rates
    }
    figures: dict[str, Any] = {
        "machine": machine(),
        "load": load,
        "mib_per_s": {name: statistics.median(found) / 2**20 for name, found in rates.items()},
        "of_unwatched": ratios,
    }
    lines = [f"machine: {figures['machine']}, load {load:.1f}"]
    lines += [
        f"1 GiB of output, {name}: median {figures['mib_per_s'][name]:.0f} MiB/s, {ratios[name]:.2f} times unwatched"
        for name in rates
    ]
    emit(options.json, figures, lines)


def rate_of_task(plane: Plane, *, stuck: bool = False) -> float:
    """Bytes a second."""
    task = plane.create(SCRIPT, "python3")
    if stuck:
        with output_of(plane, task) as events:
            next(events)
        with tree_of(task) as tree:
            plane.server.send_signal(signal.SIGSTOP)
            try:
                tree.wait_gone(SECONDS)
            finally:
                plane.server.send_signal(signal.SIGCONT)
    return GIBIBYTE / float(plane.wait(task)["results"][0]["stderr"])


def rate_into_pipe() -> float:
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while process.stdout.read(65_536):
            pass
        return GIBIBYTE / float(process.stderr.read())


if __name__ == "__main__":
    main()
