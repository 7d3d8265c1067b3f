"""A core without a counter of any user: nobody has used it yet, or it does not count users (pure).

Theory of operation. A core makes a user's counter at the user's first connection, so a fresh core has none, and so has
a core whose policy does not count users. They differ in the counters of inbounds and outbounds, where those are on: a
core that has answered its clients, and for which no user counter exists, does not count them. The evidence:

- *Downlink only.* A port scan fills uplinks; an answer is given to a user that was let in.
- *Each kind of counter that the core keeps.* If outbounds are counted, one of them must have brought something back:
  an inbound alone may have shown a scanner a fallback page. If inbounds are counted, one of them must have answered:
  outbounds also carry the core's own DNS queries and probes.
- *Not the inbound of the API itself*, which counts our own questions and may have any name. So the core is asked
  twice over one connection: an inbound that moved in between, up and down, and by no more than we sent and received,
  is taken for the API's. A busy inbound that looks so by accident is seen at the next reading.

A core that counts nothing but users cannot be told from an idle one, nor one whose only traffic was a client's
without an account: the first is reported as idle, the second as not counting, until its first user comes. Where
outbounds are not counted, the question of another reader within the same milliseconds looks like traffic, once.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lattice_agent.usage.statistics import Stat

_KINDS: Final = ("inbound", "outbound")


class Exchanged(NamedTuple):
    """Bytes that our own questions cost at most between two answers: from us to the core, and back."""

    sent: int
    received: int


class _Line(NamedTuple):
    """Bytes of an inbound or outbound, from its client's side."""

    kind: str
    tag: str
    up: int
    down: int


def carries_uncounted_users(first: Iterable[Stat], second: Iterable[Stat], between: Exchanged) -> bool:
    """Whether two answers to a question for all traffic counters show traffic of users, and no user's counter."""
    latest = list(second)
    if any(stat.name.startswith("user>>>") for stat in latest):
        return False
    before = {(line.kind, line.tag): line for line in _lines(first)}
    lines = [line for line in _lines(latest) if not _is_api(before.get((line.kind, line.tag)), line, between)]
    answered = {line.kind for line in lines if line.down}
    return bool(answered) and answered == {line.kind for line in lines}


def _lines(stats: Iterable[Stat]) -> Iterator[_Line]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    for name, value in stats:
        match name.split(">>>"):
            case [kind, tag, "traffic", direction] if kind in _KINDS:
                found.setdefault((kind, tag), {})[direction] = value
    for (kind, tag), ways in found.items():
        yield _Line(kind, tag, ways.get("uplink", 0), ways.get("downlink", 0))


def _is_api(before: _Line | None, after: _Line, between: Exchanged) -> bool:
    if before is None or after.kind != "inbound":
        return False
    up, down = after.up - before.up, after.down - before.down
    return (up, down) != (0, 0) and 0 <= up <= between.sent and 0 <= down <= between.received
