"""The mutation run. Fails when, of any module or of all, too many mutants were not noticed."""

import argparse
import random
import sys
import time
from collections.abc import Sequence

from tests.mutants import preload
from tests.mutants.equivalent import LIST, reasons, unmatched
from tests.mutants.report import LEAST_SHARE, TOTAL, Tally, line, summed, survivor_line, write_docs
from tests.mutants.run import Mutant, mutants_of, try_all
from tests.mutants.subjects import Subject, subjects


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    known = reasons(LIST.read_text())
    if gone := unmatched(known, subjects()):
        raise SystemExit("equivalent.txt has changes that no module has:\n" + "\n".join(map(str, sorted(gone))))
    preload.load()
    begun = time.monotonic()
    chosen = _chosen(options.modules)
    mutants = [mutant for subject in chosen for mutant in mutants_of(subject)]
    if options.sample:
        mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
    tallies = {subject.path: Tally() for subject in chosen}
    _try(mutants, known, tallies, options.jobs)
    total = summed(tallies.values())
    print(line(TOTAL, total), f"in {time.monotonic() - begun:.0f} s")
    if options.write_docs:
        write_docs(tallies)
    judged = [total] if options.sample else [total, *tallies.values()]
    return int(any(tally.share < LEAST_SHARE for tally in judged))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="paths, or what they end with; all without one")
    parser.add_argument("--sample", type=int, default=0, help="only so many, drawn from all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("--write-docs", action="store_true", help="write the table of docs/mutants.md")
    options = parser.parse_args(arguments)
    if options.write_docs and (options.modules or options.sample):
        parser.error("--write-docs is for all mutants of all modules")
    return options


def _chosen(names: Sequence[str]) -> list[Subject]:
    every = subjects()
    for name in names:
        if not any(subject.path.endswith(name) for subject in every):
            raise SystemExit(f"{name} is none of the modules that are changed")
    return [subject for subject in every if not names or subject.path.endswith(tuple(names))]


def _try(
    mutants: Sequence[Mutant], known: dict[tuple[str, str, str], str], tallies: dict[str, Tally], jobs: int
) -> None:
    """Prints each module as soon as it is done."""
    left = {path: sum(mutant.subject.path == path for mutant in mutants) for path in tallies}
    for mutant in (mutant for mutant in mutants if mutant.key in known):
        tallies[mutant.subject.path].equivalent += 1
        left[mutant.subject.path] -= 1
    for mutant, verdict in try_all([mutant for mutant in mutants if mutant.key not in known], jobs):
        path = mutant.subject.path
        tallies[path].add(mutant, verdict)
        left[path] -= 1
        if not left[path]:
            print(line(path, tallies[path]))
            print("".join(f"  {survivor_line(survivor)}\n" for survivor in tallies[path].survivors), end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
