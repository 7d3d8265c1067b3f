"""Text for a terminal: rows aligned, output and errors made harmless; values are made readable by
``server_stub.readable``, whose functions are offered here too.

A backslash in what is shown stays as it is, which makes the text readable rather than reversible; ``--json`` is exact.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from server_stub.readable import duration as duration
from server_stub.readable import moment as moment
from server_stub.readable import size as size
from server_stub.readable import visible as visible

_CELL_LIMIT: Final = 64
"""Columns of a table cell; what is longer is cut with an ellipsis, or one name could push a row off the screen."""

_OPERATOR_TOKEN: Final = re.compile(r"lop_[A-Za-z0-9_-]+")
_NODE_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")  # 32 bytes in base64


def visible_lines(text: str) -> str:
    """Script output: line feeds and tabs stay, and a last line without its end gets one."""
    shown = visible(text, keep="\n\t")
    return shown if not shown or shown.endswith("\n") else shown + "\n"


def without_tokens(text: str) -> str:
    """Tokens blotted out: an error must not repeat the one that somebody put on the command line.

    >>> without_tokens("unrecognized arguments: --token lop_abc")
    'unrecognized arguments: --token lop_***'
    """
    return _NODE_TOKEN.sub("***", _OPERATOR_TOKEN.sub("lop_***", text))


@dataclass(frozen=True)
class Column:
    """One column of a table; numbers stand on the right."""

    title: str
    right: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligned lines under a title line. Cells may hold anything; an empty one is shown as "-"."""
    titles = [column.title for column in columns]
    grid = [titles, *([_cell(text) for text in row] for row in rows)]
    widths = [max(map(_columns, cells)) for cells in zip(*grid, strict=True)]
    return ["  ".join(map(_padded, row, widths, columns)).rstrip() for row in grid]


def fields(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """``name  value`` lines with the values under each other; values may hold anything."""
    shown = [(visible(name), visible(value) or "-") for name, value in pairs]
    width = max((_columns(name) for name, _ in shown), default=0)
    return [f"{name}{' ' * (width - _columns(name))}  {value}" for name, value in shown]


def _cell(text: str) -> str:
    shown = visible(text) or "-"
    if len(shown) <= _CELL_LIMIT and _columns(shown) <= _CELL_LIMIT:
        return shown
    shown = shown[:_CELL_LIMIT]  # counted in characters too: combining marks take no column and could go on for ever
    while _columns(shown) > _CELL_LIMIT - 1:
        shown = shown[:-1]
    return shown + "…"


def _padded(text: str, width: int, column: Column) -> str:
    gap = " " * (width - _columns(text))
    return gap + text if column.right else text + gap


def _columns(text: str) -> int:
    """Columns a terminal needs: two for wide East Asian characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(_character_columns(c) for c in text)


def _character_columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
