"""``python -m tests.sim``: a line for each seed; of one that fails what is wrong, and how to see it again."""

import argparse
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.sim.planted import PATCHES, look_for
from tests.sim.world import Found, run_seed

TRACES = Path("build/sim")
"""Where the traces of failed seeds are written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when an invariant did not hold."""
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        found = run_seed(options.seed)
        print(found.text, end="")
        return bool(found.violations)
    if options.planted:
        return _look_for_planted(options.jobs)
    seeds = range(options.first, options.first + options.seeds)
    return _explore(seeds, options.jobs, options.until_failure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many (100)")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the first of them (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (one per core)")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--planted", action="store_true", help="how soon each planted bug is found")
    parser.add_argument("--seed", type=int, metavar="K", help="this one alone, with everything that happens in it")
    return parser


def _look_for_planted(jobs: int) -> int:
    all_found = True
    for patch in PATCHES:
        noticed = look_for(patch, jobs)
        print(noticed, flush=True)
        all_found = all_found and noticed.is_found
    return not all_found


def _explore(seeds: Sequence[int], jobs: int, until_failure: bool) -> int:
    began, failed = time.monotonic(), []
    for found in explore(seeds, jobs):
        print(f"seed {found.seed:<6} {'FAILED' if found.violations else 'ok':<7} {found.summary}", flush=True)
        if found.violations:
            failed.append(found.seed)
            _tell_failure(found)
            if until_failure:
                break
    took_s = time.monotonic() - began
    cpu_s = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    time_taken = f"{took_s:.0f} s ({cpu_s:.0f} s of processor time)"
    print(f"{len(seeds)} seeds in {time_taken}, {len(failed)} failed{': ' if failed else ''}{failed or ''}")
    return bool(failed)


def explore(seeds: Sequence[int], jobs: int) -> Iterator[Found]:
    """Runs them in so many processes; told in their order."""
    if jobs <= 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run_seed, seeds, chunksize=2)


def _tell_failure(found: Found) -> None:
    TRACES.mkdir(parents=True, exist_ok=True)
    path = TRACES / f"seed-{found.seed}.txt"
    path.write_text(found.text)
    for violation in found.violations:
        print(f"    {violation}")
    print(f"    trace: {path}; again: python -m tests.sim --seed {found.seed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
