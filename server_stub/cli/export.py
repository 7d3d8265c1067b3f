"""Tables for other programs: comma-separated values that no spreadsheet takes for formulas.

A spreadsheet computes a cell that begins with one of a few characters, and such a formula can send the sheet's other
cells away. Names are chosen by people, so those cells get an apostrophe in front, which spreadsheets take as "this is
text". Characters that a terminal would act on are escaped as in tables; ``--format json`` is exact.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from server_stub.cli.text import moment, visible

Cell = str | int | datetime | None
_STARTS_A_FORMULA: Final = ("=", "+", "-", "@")


def comma_separated(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    r"""A line of titles and one for each row, as RFC 4180 has it but for plain line feeds.

    >>> comma_separated(["name", "bytes"], [["=1+1", 5]])
    "name,bytes\n'=1+1,5\n"
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return written.getvalue()


def _plain(cell: Cell) -> str:
    """Numbers are ours and stay numbers; a time that is not set is empty."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return moment(cell).replace(" ", "T")
    if isinstance(cell, int):
        return str(cell)
    shown = visible(cell)
    return f"'{shown}" if shown.startswith(_STARTS_A_FORMULA) else shown
