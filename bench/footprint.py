"""What the idle agent costs: memory of all its processes, CPU, start-up time.

    python bench/footprint.py [--json] [--seconds 30] [--starts 7]

Memory is PSS (/proc/<pid>/smaps_rollup) of the agent and every process below it, after it has settled. CPU is user and
system time of all of them over the period, at the default intervals. Start-up is from exec to the first heartbeat
that the control plane has seen, and beside it a bare interpreter's start from the same run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rig import NODE, Plane, agent, control_plane, emit, machine, wait_online, wait_until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--starts", type=int, default=7)
    options = parser.parse_args()
    with control_plane() as plane:
        with agent(plane) as running:
            wait_online(plane)
            time.sleep(12)  # until start-up work, the first inventory included, is over
            before = cpu_seconds(tree(running.pid))
            time.sleep(options.seconds)
            pids = tree(running.pid)
            memory = {name_of(pid): pss_mib(pid) for pid in pids}
            cpu = (cpu_seconds(pids) - before) / options.seconds
        starts = [start_up(plane) for _ in range(options.starts)]
    bare = [bare_start() for _ in range(options.starts)]
    total = sum(memory.values())
    start, python = statistics.median(starts), statistics.median(bare)
    figures = {
        "machine": machine(),
        "idle_pss_mib": total,
        "idle_pss_mib_by_process": memory,
        "idle_cpu_percent": cpu * 100,
        "start_up_median_s": start,
        "bare_python_start_median_s": python,
    }
    parts = ", ".join(f"{name} {size:.1f}" for name, size in memory.items())
    lines = [
        f"machine: {figures['machine']}",
        f"idle memory (PSS) of all processes: {total:.1f} MiB ({parts})",
        f"idle CPU of all processes: {cpu * 100:.2f} % of one core over {options.seconds:.0f} s",
        f"start to first heartbeat seen: median {start * 1000:.0f} ms "
        f"({start / python:.1f} x a bare interpreter's {python * 1000:.0f} ms)",
    ]
    emit(options.json, figures, lines)


def start_up(plane: Plane) -> float:
    seen = last_seen(plane)
    begun = time.perf_counter()
    with agent(plane):
        wait_until(lambda: last_seen(plane) != seen)
        return time.perf_counter() - begun


def last_seen(plane: Plane) -> str:
    return str(plane.api.get(f"/api/v1/nodes/{NODE}").json()["node"]["last_seen"])


def bare_start() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return time.perf_counter() - begun


def tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"no Pss of {pid}: run as the agent's user or root")


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
