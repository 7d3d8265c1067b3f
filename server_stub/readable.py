"""Values as people read them, and text from outside made harmless: for the command line as for the web page.

Names, errors and output are chosen by nodes and by whoever wrote a script. A terminal obeys escape sequences, and
bidirectional controls show one text for another anywhere. So every character that is not plainly printable is shown
as a backslash escape. A backslash itself stays as it is, which makes the text readable rather than reversible.
"""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DURATION_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def visible(text: str, *, keep: str = "") -> str:
    r"""``text`` with every control, format, separator, private or unassigned character but those in ``keep`` escaped.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


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
    """Seconds in the largest unit that fits and the next one.

    >>> duration(0.314), duration(12), duration(90), duration(200_000), duration(7_214)
    ('0.31 s', '12 s', '1 min 30 s', '2 d 7 h', '2 h')
    """
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.2f} s"
    rest = int(seconds)
    amounts: list[tuple[int, str]] = []
    for step, unit in _DURATION_STEPS:
        amount, rest = divmod(rest, step)
        if amount or amounts:
            amounts.append((amount, unit))
    return " ".join(f"{amount} {unit}" for amount, unit in amounts[:2] if amount) or "0 s"


def moment(value: datetime | None) -> str:
    """A time in UTC to the second; "-" for one that is not set."""
    if value is None:
        return "-"
    try:
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except OverflowError:  # an offset that leads out of the years 1 to 9999
        return value.isoformat()
