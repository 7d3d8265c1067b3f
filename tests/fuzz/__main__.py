"""``make fuzz``: every target for its share of the time; exit code 1 if something was found."""

import argparse
import os
import random
from pathlib import Path

from tests.fuzz.campaign import Plan, hunt_all
from tests.fuzz.rooms import all_targets
from tests.fuzz.target import Target

_SHORTEST_S = 3


def main() -> int:
    """Prints a line for each target."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together")
    parser.add_argument("--targets", default="", help="only those whose name begins so: usage.,wire.json")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**24), help="a random one if left out"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    targets = tuple(target for target in all_targets() if target.name.startswith(tuple(given.targets.split(","))))
    seconds = max(_SHORTEST_S, int(given.minutes * 60 * given.workers / max(len(targets), 1)))
    print(f"{len(targets)} targets, {seconds} s each on {given.workers} cores, seed {given.seed}", flush=True)
    return _report(targets, Plan(seconds, given.seed, Path("build/fuzz")), given.workers)


def _report(targets: tuple[Target, ...], plan: Plan, workers: int) -> int:
    executions, findings, troubles = 0, 0, 0
    for hunted in hunt_all(targets, plan, workers):
        print(hunted, flush=True)
        executions += hunted.executions
        findings += len(hunted.findings)
        troubles += bool(hunted.trouble)
    print(f"{executions} executions, {findings} findings" + (f", {troubles} workers in trouble" if troubles else ""))
    return int(bool(findings or troubles or not targets))


if __name__ == "__main__":
    raise SystemExit(main())
