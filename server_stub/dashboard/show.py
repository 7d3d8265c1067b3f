"""How values are written on a page: the filters of the templates."""

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from server_stub.readable import duration, moment, size

if TYPE_CHECKING:
    from markupsafe import Markup

UNKNOWN = "-"


def size_of(count: float | None) -> str:
    """Bytes with a unit; a dash for what is not known. What a node says may be of any kind."""
    return size(int(count)) if isinstance(count, int | float) else UNKNOWN


def duration_of(seconds: float | None) -> str:
    return duration(seconds) if isinstance(seconds, int | float) else UNKNOWN


def count(amount: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "node"), count(2, "node"), count(0, "process", "processes")
    ('1 node', '2 nodes', '0 processes')
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def moment_of(value: datetime | None) -> "Markup | str":
    """A time as an element that says it exactly; a script may show it in the reader's own zone."""
    from markupsafe import Markup

    if value is None:
        return UNKNOWN
    shown = moment(value)
    return Markup('<time datetime="{}">{}</time>').format(shown.replace(" ", "T"), shown)


def ago(value: datetime | None, now: datetime) -> "Markup | str":
    """How long ago, with the time itself on it."""
    from markupsafe import Markup

    if value is None:
        return "never"
    exact_time = moment(value)
    seconds = max(0, int((now - value).total_seconds()))
    text = "just now" if seconds < 5 else f"{duration(seconds)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact_time.replace(" ", "T"), exact_time, text)


def sentence(text: str) -> str:
    """Its first letter as at the beginning of one; ``capitalize`` would write the others small.

    >>> sentence("now 2.0 GiB")
    'Now 2.0 GiB'
    """
    return text[:1].upper() + text[1:]


def exact(text: str) -> "Markup":
    """Escaped for HTML and nothing else, for what is edited or copied: its control characters stay what they are."""
    from markupsafe import escape

    return escape(text)


def segment(text: str) -> str:
    """As one segment of a URL's path."""
    return quote(text, safe="")
