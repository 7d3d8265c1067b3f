"""Tables in the documents that a run of the tests wrote: each test notes what it saw, a table without a blank is put
into its document.

    LATTICE_EVIDENCE=DIR python -m pytest ...        # the tests note
    python -m tests.rigs.evidence DIR MODULE...      # each MODULE has tables: the variable TABLES

Notes are lines of JSON in DIR/TABLE.jsonl; of several for one cell the last counts.
"""

import importlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VARIABLE = "LATTICE_EVIDENCE"


class BlankError(Exception):
    """A cell of a table about which no test said anything."""


@dataclass(frozen=True)
class Table:
    """What a run has to say something about: every ``row`` in every one of ``columns``.

    ``document``: path below the repository that has the lines ``<!-- table NAME -->`` and ``<!-- end NAME -->``.
    """

    name: str
    document: str
    heading: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    def note(self, row: str, column: str, seen: str) -> None:
        """Says what a test saw. Does nothing unless evidence is collected. Raises KeyError for an unknown place."""
        if row not in self.rows or column not in self.columns:
            raise KeyError(f"{self.name} has no place for {row!r}, {column!r}")
        directory = os.environ.get(VARIABLE)
        if not directory:
            return
        Path(directory).mkdir(parents=True, exist_ok=True)
        with (Path(directory) / f"{self.name}.jsonl").open("a") as notes:
            notes.write(json.dumps([row, column, seen]) + "\n")

    def render(self, directory: Path) -> str:
        """The table in Markdown. Raises BlankError if something was not seen."""
        seen = self._seen(directory)
        blanks = [f"{row} / {column}" for row in self.rows for column in self.columns if not seen.get((row, column))]
        if blanks:
            raise BlankError(f"{self.name}: nothing was noted for {'; '.join(blanks)}")
        lines = [_line(self.heading, *self.columns), _line(*("---" for _ in range(len(self.columns) + 1)))]
        lines += [_line(row, *(seen[row, column] for column in self.columns)) for row in self.rows]
        return "\n".join(lines)

    def _seen(self, directory: Path) -> dict[tuple[str, str], str]:
        notes = (directory / f"{self.name}.jsonl").read_text().splitlines()
        return {(row, column): text for row, column, text in map(json.loads, notes)}

    def write(self, directory: Path) -> None:
        """Puts the table into its document."""
        path = REPOSITORY / self.document
        begin, end = f"<!-- table {self.name} -->", f"<!-- end {self.name} -->"
        before, _, rest = path.read_text().partition(begin)
        _, _, after = rest.partition(end)
        path.write_text(f"{before}{begin}\n\n{self.render(directory)}\n\n{end}{after}")

    def written(self) -> str:
        """The table as its document has it."""
        text = (REPOSITORY / self.document).read_text()
        return text.partition(f"<!-- table {self.name} -->")[2].partition(f"<!-- end {self.name} -->")[0].strip()


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main(directory: str, *modules: str) -> None:
    """Writes the tables of these modules."""
    for module in modules:
        for table in importlib.import_module(module).TABLES:
            table.write(Path(directory))


if __name__ == "__main__":
    main(*sys.argv[1:])
