"""What an unmodified server is told, and what it has billed (pure; protocol reference 5.4, 5.5).

Theory of operation. The server keeps one snapshot, bills the difference to it, takes an id that it lacks for 0, and
replaces it. It has no guard: a report that is late, lacks an id or comes twice with another between is billed wrongly.
So there are two kinds of report, one at a time. A *values report* carries, of each id, the total less an offset. A
*zero report* carries an empty map: it bills nothing and clears the snapshot, whatever it was. The uptime is always 0.

Three figures are kept of each key: ``billed``, the total up to which the server was told by an accepted values report;
``offset``, what ``billed`` was when the snapshot was last cleared; and ``baseline``, the value in the snapshot.

- Everything begins with a zero report: nothing is known of the snapshot.
- A values report is kept, byte for byte, until the server has answered it (``Pending``). While it is not known whether
  it arrived, it is sent again, and nothing else is.
- After an answer that ignored users, and after any refusal, a zero report follows: whoever was ignored is no longer in
  the snapshot, and would be billed from 0. With its 200 the offsets move to ``billed``.
- A refusal of one that may have arrived before counts it as billed: less, rather than twice.
- While the server has no profile for the node, ``billed`` follows the totals: nobody is to be billed for that time.
- What does not fit into one report goes out in parts, each after a zero report: a key may be left out only where the
  snapshot has nothing of it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lattice_agent.usage.ledger import LINE_SEPARATOR, line_of, user_of
from lattice_agent.usage.normalise import IDS_LIMIT
from lattice_agent.wire.base import BODY_LIMIT

ROOM_BYTES: Final = BODY_LIMIT - 4096
"""Bytes of a body that entries may take; the rest is for what stands around them."""

_ENTRY_BYTES: Final = 40  # quotes, colon, comma, braces and sixteen digits


@dataclass(frozen=True, slots=True)
class Pending:
    """A values report that is not answered yet: the totals it tells, and its bytes.

    ``maybe_arrived``: it was sent, and it is not known what became of it.
    """

    totals: Mapping[str, int]
    body: bytes = b""
    maybe_arrived: bool = False


@dataclass(frozen=True, slots=True)
class Billing:
    """Where things stand with one server. ``zero_due``: the next report is a zero report.

    ``resume_after`` is the user at which the last part ended, "" at the beginning.
    """

    zero_due: bool = True
    billed: Mapping[str, int] = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)
    baseline: frozenset[str] = frozenset()
    """Keys in the server's snapshot, all with more than 0."""
    pending: Pending | None = None
    resume_after: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """The totals that the next values report tells; ``is_all`` if nothing that matters is left out."""

    totals: dict[str, int]
    is_all: bool


def values_of(billing: Billing, totals: Mapping[str, int]) -> dict[str, int]:
    """What goes over the wire for these totals, by key."""
    return {key: total - billing.offsets.get(key, 0) for key, total in totals.items()}


def next_part(billing: Billing, totals: Mapping[str, int]) -> Part | None:
    """What to tell next; ``None`` when a zero report has to come first."""
    if billing.zero_due:
        return None
    offsets = billing.offsets
    telling = {key for key, total in totals.items() if total > offsets.get(key, 0)} | billing.baseline
    if _fits(telling):
        return Part({key: totals[key] for key in telling}, is_all=True)
    if billing.baseline:
        return None
    groups = _by_user(telling)
    users = sorted(groups)
    later = [user for user in users if user > billing.resume_after]
    keys = _as_many_as_fit((*later, *users[: len(users) - len(later)]), groups)
    # Nothing is left that any report can tell: lines of a user without a sum, too many for one.
    return Part({key: totals[key] for key in keys}, is_all=not keys)


def _by_user(keys: Iterable[str]) -> dict[str, list[str]]:
    """A user's sum and lines stay together: a report with lines only would be billed by their sums (5.4, 6)."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(user_of(key), []).append(key)
    return groups


def _fits(keys: Collection[str]) -> bool:
    lines = sum(1 for key in keys if LINE_SEPARATOR in key)
    if lines == 0:
        return len(keys) <= IDS_LIMIT  # so many ids of 128 characters are two thirds of the room
    return max(lines, len(keys) - lines) <= IDS_LIMIT and sum(map(_size, keys)) <= ROOM_BYTES


def _size(key: str) -> int:
    # At most: an id is plain ASCII; a line may be quotes and backslashes, which are escaped, or wide characters.
    return (4 * len(key) if LINE_SEPARATOR in key else len(key)) + _ENTRY_BYTES


def _as_many_as_fit(users: Iterable[str], groups: Mapping[str, list[str]]) -> list[str]:
    """Keys of whole users, in the order given. Lines of one user that alone fill a report are left out."""
    kept: list[str] = []
    entries, room = IDS_LIMIT, ROOM_BYTES
    for user in users:
        whole = groups[user]
        fits_alone = len(whole) <= IDS_LIMIT and _fits(whole)
        group = whole if fits_alone else [key for key in whole if not line_of(key)]
        size = sum(map(_size, group))
        if len(group) > entries or size > room:
            break
        kept += group
        entries, room = entries - len(group), room - size
    return kept


def has_moved(billing: Billing, totals: Mapping[str, int]) -> bool:
    """Whether there is something in the totals that no accepted report has told."""
    billed = billing.billed
    return any(total > billed.get(key, 0) for key, total in totals.items())


# --- what the server answers ---


def with_pending(billing: Billing, part: Part, body: bytes) -> Billing:
    """Before the first byte of a values report is sent."""
    last = "" if part.is_all else user_of(next(reversed(part.totals)))
    return replace(billing, pending=Pending(part.totals, body), resume_after=last)


def unanswered(billing: Billing) -> Billing:
    """No answer, or one that does not say: the values report on the way may have arrived."""
    if billing.pending is None or billing.pending.maybe_arrived:
        return billing
    return replace(billing, pending=replace(billing.pending, maybe_arrived=True))


def zero_accepted(billing: Billing) -> Billing:
    """The snapshot is empty."""
    return replace(billing, zero_due=False, offsets=billing.billed, baseline=frozenset())


def values_accepted(billing: Billing, ignored: int) -> Billing:
    """The server has the values report; ``ignored`` of its users are not to be billed."""
    pending = billing.pending
    assert pending is not None, "an answer belongs to a report"
    return replace(
        billing,
        pending=None,
        billed={**billing.billed, **pending.totals},
        baseline=frozenset(pending.totals),  # nobody is told of whose value is 0
        zero_due=ignored > 0,
    )


def repeated(billing: Billing, ignored: int) -> Billing:
    """The server has taken the values once more that it had before."""
    return replace(billing, zero_due=ignored > 0)


def refused(billing: Billing, totals: Mapping[str, int], *, no_profile: bool) -> Billing:
    """The server will not take the report on the way. ``totals`` are those of now."""
    billed = billing.billed
    if billing.pending is not None and billing.pending.maybe_arrived:
        billed = {**billed, **billing.pending.totals}
    if no_profile:
        billed = dict(totals)
    return replace(billing, pending=None, billed=billed, zero_due=True)
