"""How long a task takes from its creation to its visible result, and how many no-op tasks pass in a second.

    python bench/latency.py [--json] [--samples 40] [--tasks 600] [--slots 16]

Latency: polling is fixed at one second and creations are spread evenly over the phase of the poll, so half a second
of the median is the poll itself; beside it stands the rest: total minus the time from creation to lease, as the
control plane stamped them. Throughput: all tasks are created first; the clock runs from the first lease to the moment
the last result is durable at the control plane. The figures with and without the batch extension come from one run.
"""

import argparse
import statistics
import time
from datetime import datetime

from rig import agent, control_plane, emit, machine, wait_online

FIXED_POLL = ("--poll-interval", "1s", "--poll-interval-busy", "1s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--tasks", type=int, default=600)
    parser.add_argument("--slots", type=int, default=16)
    options = parser.parse_args()
    totals, rests = latency(options.samples)
    batched = throughput(options.tasks, options.slots, batches=True)
    single = throughput(max(20, options.tasks // 20), options.slots, batches=False)
    figures = {
        "machine": machine(),
        "latency_total_median_s": statistics.median(totals),
        "latency_rest_median_s": statistics.median(rests),
        "latency_rest_p90_s": sorted(rests)[int(len(rests) * 0.9)],
        "tasks_per_s_batch": batched,
        "tasks_per_s_base_wire": single,
    }
    lines = [
        f"machine: {figures['machine']}",
        f"latency, poll 1 s, n={options.samples}: median {figures['latency_total_median_s'] * 1000:.0f} ms "
        f"(not waiting for the poll: median {figures['latency_rest_median_s'] * 1000:.1f} ms, "
        f"p90 {figures['latency_rest_p90_s'] * 1000:.1f} ms)",
        f"no-op tasks, {options.slots} slots, every result durable on both sides: {batched:.0f}/s with batches, "
        f"{single:.1f}/s on the base wire (paced to stay under its rate limit)",
    ]
    emit(options.json, figures, lines)


def latency(samples: int) -> tuple[list[float], list[float]]:
    totals, rests = [], []
    with control_plane() as plane, agent(plane, *FIXED_POLL):
        wait_online(plane)
        task = plane.wait(plane.create())
        for i in range(samples):
            # The poll that leased the last task was phase 0; creations are spread evenly over the second after it.
            time.sleep(max(0.0, stamp(task["started_at"]) + (i + 0.5) / samples - time.time()))
            begun = time.perf_counter()
            task = plane.wait(plane.create())
            total = time.perf_counter() - begun
            totals.append(total)
            rests.append(total - (stamp(task["started_at"]) - stamp(task["created_at"])))
    return totals, rests


def throughput(tasks: int, slots: int, *, batches: bool) -> float:
    flags = ["--slots", str(slots), "--poll-interval", "0.1s", "--poll-interval-busy", "0.1s"]
    with control_plane(extensions=batches) as plane:
        ids = [plane.create() for _ in range(tasks)]
        with agent(plane, *flags):
            ended = [plane.wait(task_id) for task_id in ids]
    first = min(stamp(task["started_at"]) for task in ended)
    last = max(stamp(task["results"][0]["received_at"]) for task in ended)
    failed = sum(task["status"] != "finished" for task in ended)
    if failed:
        raise SystemExit(f"{failed} of {tasks} tasks failed")
    return tasks / (last - first)


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
