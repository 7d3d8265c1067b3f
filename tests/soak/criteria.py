"""What must not grow, how much of it is declared, and what must be at rest as it was before the work.

A leak worth the name is beyond its tolerance: a descriptor in five minutes, a thread in twenty, 43 KiB of memory in a
single one.
Where growth is declared (docs/operations.md) it is judged for each unit of work.

The heap of a program settles for long: each time that more is done at once than ever before it becomes a little larger,
less and less often. So of memory the second half of each life is judged, and a mebibyte in all is no growth: that is
more than the tolerance if less than 25 minutes are judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.soak.samples import Lives
from tests.soak.verdict import Points, Trend, Verdict, after, judge, trend_of

DAY_S: Final = 86_400.0
MIB: Final = 1024.0 * 1024.0
KIB: Final = 1024.0
LAST_REST_S: Final = 6.0
"""Of a rest, its end is looked at."""

Samples = Mapping[tuple[str, str], Lives]


def between(samples: Samples, since_s: float, until_s: float) -> Samples:
    """What was sampled in this time."""
    return {
        key: {life: [point for point in points if since_s <= point[0] <= until_s] for life, points in lives.items()}
        for key, lives in samples.items()
    }


# --- over time, and for each unit of work ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Flat:
    """Must not grow over time. ``factor`` makes the told unit of the sampled one."""

    who: str
    what: str
    name: str
    unit: str
    tolerance: float
    """In the told unit, a day."""
    factor: float = 1.0
    warm_up: float = 0.25
    """A share of each life."""
    warm_up_s: float = 0.0
    """At least so long."""
    settling: float = 0.0
    """So much in all that is judged is no growth; in the told unit."""

    def lives(self, samples: Samples) -> list[Points]:
        return [
            [(at / DAY_S, value * self.factor) for at, value in after(life, self._warm_up_s(life))]
            for life in samples.get((self.who, self.what), {}).values()
            if life
        ]

    def allowed(self, lives: Sequence[Points]) -> float:
        """In the told unit, a day."""
        days = sum(life[-1][0] - life[0][0] for life in lives if life)
        return max(self.tolerance, self.settling / days if days else 0.0)

    def _warm_up_s(self, life: Points) -> float:
        return max(self.warm_up_s, self.warm_up * (life[-1][0] - life[0][0]))


@dataclass(frozen=True)
class Declared:
    """May grow by ``tolerance`` for each unit of work: ``what`` less ``less``, over ``work`` (both of ``who``)."""

    who: str
    what: str
    work: str
    name: str
    unit: str
    tolerance: float
    less: str = ""
    factor: float = 1.0

    def lives(self, samples: Samples) -> list[Points]:
        """x is the work that was done; only where it went on."""
        values, works, lesses = (
            samples.get((self.who, name), {}) if name else {} for name in (self.what, self.work, self.less)
        )
        found = []
        for life, points in values.items():
            done, without = dict(works.get(life, [])), dict(lesses.get(life, []))
            kept = {done[at]: value - without.get(at, 0.0) for at, value in points if at in done}
            found.append(sorted(kept.items()))
        return found

    def allowed(self, _lives: Sequence[Points]) -> float:
        return self.tolerance


Criterion = Flat | Declared


@dataclass(frozen=True)
class Finding:
    """``level``: what was sampled last; ``allowed``: the slope that is no growth; both in the told unit."""

    criterion: Criterion
    trend: Trend
    level: float
    allowed: float
    verdict: Verdict


_COUNTED: Final = (("fds", "descriptors", 288.0), ("threads", "threads", 72.0))
_MEMORY: Final = (("pss_kib", "memory (PSS)"), ("heap_kib", "memory of its own (anonymous)"))
_PROCESSES: Final = ("agent first", "agent second", "spawner first", "spawner second", "server")
_NODES: Final = ("first", "second")

CRITERIA: Final[Sequence[Criterion]] = (
    *(
        Flat(who, what, name, "MiB", 60.0, 1 / KIB, warm_up=0.5, warm_up_s=300.0, settling=1.0)
        for what, name in _MEMORY
        for who in _PROCESSES
    ),
    *(Flat(who, what, name, "", most) for what, name, most in _COUNTED for who in _PROCESSES),
    *(Flat(f"spawner {node}", "children", "cells and supervisors", "", 288.0) for node in _NODES),
    *(Flat(f"agent {node}", "work_directories", "work directories", "", 288.0) for node in _NODES),
    *(Flat(f"agent {node}", "unsent", "results that wait", "", 288.0) for node in _NODES),
    *(Flat(f"agent {node}", "lag_s", "lag of the loop", "s", 1.0) for node in _NODES),
    Flat("server", "health_s", "time of a health request", "s", 1.0),
    Flat("server", "used_bytes", "database, at its bound", "MiB", 100.0, 1 / MIB, warm_up=0.5),
    *(
        Flat(who, "wal_bytes", "write-ahead log", "MiB", 100.0, 1 / MIB, warm_up=0.5)
        for who in ("server", "agent first", "agent second")
    ),
    *(
        Declared(f"agent {node}", "used_bytes", "journal_rows", "state.db, less texts", "B", 1024.0, "journal_bytes")
        for node in _NODES
    ),
    *(Declared(f"agent {node}", "audit_bytes", "journal_rows", "audit", "B", 1536.0) for node in _NODES),
)  # fmt: skip


def find(criterion: Criterion, samples: Samples) -> Finding:
    """The verdict on one of them."""
    lives = criterion.lives(samples)
    trend = trend_of(lives)
    last = [life[-1][1] for life in samples.get((criterion.who, criterion.what), {}).values() if life]
    level = last[-1] * criterion.factor if last else 0.0
    allowed = criterion.allowed(lives)
    return Finding(criterion, trend, level, allowed, judge(trend, allowed))


# --- at rest ---------------------------------------------------------------------------------------------------------


READY_MOST: Final = 6.0
"""Ready cells follow the demand, from 2 to 8 of a profile, and become fewer by one in a minute."""
OF_A_CELL: Final = 5.0
"""Descriptors that an agent or a spawner holds for one."""


@dataclass(frozen=True)
class AtRest:
    """After all work there may be ``more`` than before it, and ``of_a_cell`` for each that its spawner has more."""

    who: str
    what: str
    name: str
    more: float
    of_a_cell: float = 0.0

    @property
    def spawner(self) -> str:
        return f"spawner {self.who.partition(' ')[2]}"


REST: Final = (
    *(AtRest(f"{who} {node}", "fds", "descriptors", 8.0, OF_A_CELL) for who in ("agent", "spawner") for node in _NODES),
    AtRest("server", "fds", "descriptors", 12.0),
    *(AtRest(who, "threads", "threads", 2.0) for who in _PROCESSES),
    *(AtRest(f"spawner {node}", "children", "cells and supervisors", READY_MOST) for node in _NODES),
    *(AtRest(f"agent {node}", "work_directories", "work directories", 0.0) for node in _NODES),
    *(AtRest(f"agent {node}", "unsent", "results that wait", 0.0) for node in _NODES),
)


def at_moment(samples: Samples, who: str, what: str, at_s: float) -> float | None:
    """The usual value in the last seconds before; None if nothing was sampled then, or ever: a rest without a look."""
    points = [point for life in samples.get((who, what), {}).values() for point in life if point[0] <= at_s]
    recent = [value for at, value in points if at > at_s - LAST_REST_S] or [value for _, value in points[-1:]]
    return median(recent) if recent else None


def restless(samples: Samples, work_begins_s: float, end_s: float) -> list[str]:
    """What is not as it was, in sentences."""
    sentences = []
    for rest in REST:
        before, since = (at_moment(samples, rest.who, rest.what, at) for at in (work_begins_s, end_s))
        if before is None or since is None:
            sentences.append(f"{rest.name} of {rest.who} were not seen at rest")
            continue
        cells = [at_moment(samples, rest.spawner, "children", at) or 0.0 for at in (work_begins_s, end_s)]
        if since > before + rest.more + rest.of_a_cell * max(0.0, cells[1] - cells[0]):
            sentences.append(f"{rest.name} of {rest.who}: {before:g} at rest before the work, {since:g} after it")
    return sentences
