"""Looks from outside: a process of its own that never talks to the runner.

Lines in: ``ended TASK_ID`` when a task's outcome is there, ``report`` at the end. One second after a task ended every
living process that still carries its id counts as a survivor. One JSON line out: {"checked": N, "survivors": [...]}.
"""

import json
import os
import select
import time
from pathlib import Path

DELAY_S = 1.0


def living() -> dict[str, list[int]]:
    """Task id to the living processes that carry it in their environment."""
    found: dict[str, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()  # empty for a zombie
        except OSError:
            continue
        for item in environment.split(b"\0"):
            if item.startswith(b"LATTICE_TASK_ID="):
                found.setdefault(item.partition(b"=")[2].decode(), []).append(int(name))
    return found


def main() -> None:
    due: list[tuple[float, str]] = []
    survivors: list[tuple[str, list[int]]] = []
    checked = 0
    reporting = False
    pending = b""
    while due or not reporting:
        wait_s = max(0.0, due[0][0] - time.monotonic()) if due else None
        if select.select([] if reporting else [0], [], [], wait_s)[0]:
            pending += os.read(0, 65_536)
            *lines, pending = pending.split(b"\n")
            for line in lines:
                verb, _, task_id = line.decode().partition(" ")
                reporting = reporting or verb == "report"
                if verb == "ended":
                    due.append((time.monotonic() + DELAY_S, task_id))
        now = time.monotonic()
        ripe = [task_id for at, task_id in due if at <= now]
        if ripe:
            due = [(at, task_id) for at, task_id in due if at > now]
            alive = living()
            survivors += [(task_id, alive[task_id]) for task_id in ripe if task_id in alive]
            checked += len(ripe)
    print(json.dumps({"checked": checked, "survivors": survivors}))


if __name__ == "__main__":
    main()
