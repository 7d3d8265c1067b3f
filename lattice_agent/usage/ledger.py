"""From readings to totals that never fall (pure): the books of one usage source.

Theory of operation. A proxy core counts from its own start, may leave out who has no traffic, and can be restarted or
reset by others at any time. Its counters become totals by differences:

- The first reading of a source only sets what later ones are compared with: who bills what was counted before?
- An id that is new in a later reading counts from 0; one that is absent stays as it is.
- When the core has restarted, everything it shows was counted since, and is added. That needs proof, because added
  twice is billed twice: another boot of the machine, or an uptime that says so (``is_restarted``). A wall clock proves
  nothing, and neither does a document that may be old.
- Without proof the difference is added; when the counter fell, what it shows now (somebody has reset it).

What is lost is what the core counted between the last reading and its death or a reset. Nothing is ever added twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.normalise import ABSURD_BYTES, Counters

KEYS_LIMIT: Final = 65_536
"""Ids of a source, and its line entries, that are kept; one more is an error of the source."""

ROUNDING_S: Final = 1
"""An uptime is whole seconds, rounded down."""

CLOCK_SLACK_S: Final = 5
"""What rounding and a slewed clock can do to an uptime that a source works out itself, and the time between the writing
of a document and the reading that saw it first."""

LINE_SEPARATOR: Final = "\n"
"""Between line and user in a key; neither can hold it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a reading was taken: the boot it was in, and CLOCK_MONOTONIC seconds, which start anew with each boot."""

    boot_id: str
    monotonic_s: float


@dataclass(frozen=True, slots=True)
class SourceBook:
    """Of each key the value last read and the total since the book was begun, in bytes.

    A key is a user id, or a line and a user (``line_key``). ``uptime_s`` is what the last reading said, 0 for nothing:
    an older one would prove the same restart again. ``taken`` is when these values and this uptime were seen first.
    """

    raw: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    uptime_s: int = 0
    taken: Moment = Moment("", 0.0)


def line_key(line: str, user: str) -> str:
    """The key of what a user moved over one line."""
    return f"{line}{LINE_SEPARATOR}{user}"


def user_of(key: str) -> str:
    """The user that a key is about."""
    return key.rpartition(LINE_SEPARATOR)[2]


def line_of(key: str) -> str:
    """The line of a key, "" for the user's sum over all."""
    return key.rpartition(LINE_SEPARATOR)[0]


def keyed(counters: Counters) -> dict[str, int]:
    """A reading by key."""
    found = dict(counters.user_bytes)
    for line, users in counters.line_user_bytes.items():
        found |= {line_key(line, user): count for user, count in users.items()}
    return found


def take_reading(book: SourceBook | None, counters: Counters, now: Moment, ended: Moment | None = None) -> SourceBook:
    """The book after a reading that began ``now``. ``UsageSourceError`` when it cannot be true; the book then stays as
    it was.

    What a reading shows is of some moment between its begin and its ``ended``. A core that restarts meanwhile is seen
    in it already; were the next one compared with the begin, it would be seen to have restarted again.
    """
    seen, uptime_s, taken = keyed(counters), counters.core_uptime_s, ended or now
    if book is None:
        _check(seen, {})
        return SourceBook(seen, dict.fromkeys(seen, 0), uptime_s, taken)
    if _is_read_before(book, seen, uptime_s):
        return book
    if is_restarted(book, uptime_s, now, is_live=counters.is_live):
        steps, raw = seen, seen
    else:
        before = book.raw.get
        # What was gained; of a counter that fell, what it shows.
        steps = {key: value - old if value >= (old := before(key, 0)) else value for key, value in seen.items()}
        raw = {**book.raw, **seen}
    totals = {**book.totals, **{key: book.totals.get(key, 0) + step for key, step in steps.items()}}
    _check(totals, steps)
    return SourceBook(raw, totals, uptime_s, taken)


def _is_read_before(book: SourceBook, seen: Mapping[str, int], uptime_s: int) -> bool:
    """Whether this is what was read last, once more: a file that nobody has written since, even before a reboot, looks
    like a core that is too young. The book stays, so that the proof is still there when something new is seen."""
    is_same = uptime_s == book.uptime_s and all(book.raw.get(key) == value for key, value in seen.items())
    return is_same and any(seen.values())


def _check(totals: Mapping[str, int], steps: Mapping[str, int]) -> None:
    if len(totals) > KEYS_LIMIT:
        raise UsageSourceError(
            f"more than {KEYS_LIMIT} ids were seen; those beyond cannot be counted",
            hint="ids that change all the time are no user ids: check what the core labels its users with",
        )
    if max(totals.values(), default=0) <= ABSURD_BYTES:
        return
    for key, step in steps.items():
        if totals[key] > ABSURD_BYTES:
            raise UsageSourceError(f"{user_of(key)!r} would have moved {totals[key]} bytes (+{step}), above 2^53")


def is_restarted(book: SourceBook, uptime_s: int, now: Moment, *, is_live: bool = True) -> bool:
    """Whether the core has certainly started after the reading before. An ``uptime_s`` of 0 is not known.

    It has if the machine was booted since; if a live answer says that it is younger than that reading is old; or if its
    uptime fell to no more than that age. A document proves nothing by being young, and is of this boot only if its
    uptime fits into it: it may have been written long ago. An uptime that fell but claims a start before that reading
    contradicts itself: somebody has computed it from a clock that was set back.
    """
    if now.boot_id != book.taken.boot_id:
        return is_live or 0 < uptime_s <= now.monotonic_s
    if uptime_s == 0:
        return False
    elapsed_s = now.monotonic_s - book.taken.monotonic_s
    if is_live and uptime_s + ROUNDING_S < elapsed_s:
        return True
    return uptime_s < book.uptime_s and uptime_s <= elapsed_s + CLOCK_SLACK_S


def summed(books: Mapping[str, SourceBook]) -> dict[str, int]:
    """Totals by key over all sources of a node."""
    sums: dict[str, int] = {}
    for book in books.values():
        if not sums:
            sums = dict(book.totals)
            continue
        for key, total in book.totals.items():
            sums[key] = sums.get(key, 0) + total
    return sums
