"""What came of it: how many of each module's mutants were noticed, and which were not."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutants.run import Mutant, Verdict
from tests.mutants.subjects import subjects
from tests.rigs.evidence import VARIABLE, Table

LEAST_SHARE: Final = 0.9
TOTAL: Final = "all"
COLUMNS: Final = ("mutants", "killed", "timed out", "survived", "equivalent", "share")


@dataclass
class Tally:
    """Of one module, or of all."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    equivalent: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def to_kill(self) -> int:
        return self.verdicts.total()

    @property
    def share(self) -> float:
        """Of those that can be noticed, how many were."""
        return 1 - self.verdicts[Verdict.SURVIVED] / self.to_kill if self.to_kill else 1.0

    def add(self, mutant: Mutant, verdict: Verdict) -> None:
        self.verdicts[verdict] += 1
        if verdict is Verdict.SURVIVED:
            self.survivors.append(mutant)

    def cells(self) -> dict[str, str]:
        """One for each of COLUMNS."""
        counts = [self.verdicts[verdict] for verdict in (Verdict.KILLED, Verdict.TIMED_OUT, Verdict.SURVIVED)]
        values = [self.to_kill + self.equivalent, *counts, self.equivalent]
        # Rounded down: 100 % is all of them.
        return dict(zip(COLUMNS, [*map(str, values), f"{int(1000 * self.share) / 10} %"], strict=True))


def summed(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.verdicts.update(tally.verdicts)
        total.equivalent += tally.equivalent
        total.survivors += tally.survivors
    return total


def line(name: str, tally: Tally) -> str:
    return f"{name:42}" + " ".join(f"{column} {value:>5} " for column, value in tally.cells().items())


def survivor_line(mutant: Mutant) -> str:
    reached = "" if mutant.tests else " (no test calls it)"
    return f"{mutant.subject.path}:{mutant.change.line} {mutant.change.scope}{reached}\n    {mutant.change.text}"


def table() -> Table:
    """The table of docs/mutants.md."""
    return Table("mutants", "docs/mutants.md", "module", (*(s.path for s in subjects()), TOTAL), COLUMNS)


def write_docs(tallies: dict[str, Tally]) -> None:
    """Writes the table. BlankError unless every module was tried."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ[VARIABLE] = directory
        for name, tally in {**tallies, TOTAL: summed(tallies.values())}.items():
            for column, cell in tally.cells().items():
                table().note(name, column, cell)
        table().write(Path(directory))
