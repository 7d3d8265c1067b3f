"""Text for a terminal: what came from outside made harmless, values made readable, rows aligned.

Names, errors and script output are chosen by nodes and by whoever wrote the script. A terminal obeys what it is
sent: escape sequences can rewrite the lines above, set the title, or paste into the shell, and bidirectional
controls show one text for another. So every character that is not plainly printable is shown as a backslash escape.
A backslash itself stays as it is, which makes the text readable rather than reversible; ``--json`` is exact.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DURATION_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_CELL_LIMIT: Final = 64
"""Columns of a table cell; what is longer is cut with an ellipsis, or one name could push a row off the screen."""

_OPERATOR_TOKEN: Final = re.compile(r"lop_[A-Za-z0-9_-]+")
_NODE_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")  # 32 bytes in base64


def visible(text: str, *, keep: str = "") -> str:
    r"""``text`` with every control, format, separator, private or unassigned character but those in ``keep`` escaped.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


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


def size(count: int) -> str:
    """Bytes with a binary unit.

    >>> size(1023), size(1536), size(5 * 2**40)
    ('1023 B', '1.5 KiB', '5.0 TiB')
    """
    if abs(count) < 1024:
        return f"{count} B"
    power = min((abs(count).bit_length() - 1) // 10, len(_UNITS))
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"


def duration(seconds: float) -> str:
    """Seconds in the two largest units that fit.

    >>> duration(0.314), duration(12), duration(90), duration(200_000)
    ('0.31 s', '12 s', '1 min 30 s', '2 d 7 h')
    """
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.2f} s"
    rest = int(seconds)
    parts = []
    for step, unit in _DURATION_STEPS:
        amount, rest = divmod(rest, step)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"


def moment(value: datetime | None) -> str:
    """A time in UTC to the second; "-" for one that is not set."""
    if value is None:
        return "-"
    try:
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except OverflowError:  # an offset that leads out of the years 1 to 9999
        return value.isoformat()


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
