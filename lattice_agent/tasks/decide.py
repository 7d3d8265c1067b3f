"""The life of a task as a table, and every decision of the lease loop as a function over values. Pure.

A task id is started at most once. The control plane hands the same id out again only because it never stored (or
has forgotten) our result, so a known id means "adopt the new lease", never "run it again"; an operator who wants a
second run gets a new id (protocol reference 2.3). The one exception is a lease that died before the start.

    (no row) --leased--> WAITING --started--> RUNNING --ended--> FINISHED --200--> ACCEPTED
                           |  \\--declined---------------------------^  ^ |--403--> REFUSED
                           |                                           | '--400--> REJECTED
                           '--expired--> GIVEN_UP --leased--> WAITING  |
                     ACCEPTED, REFUSED, REJECTED --leased--> ----------'
"""

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from lattice_agent.errors import LatticeError
from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import Phase, TaskRow

LEASE_GRACE_S: Final = 300
"""A lease is dead timeout + 300 s after it was granted (protocol reference 2.3)."""
UNLIMITED_LEASE_S: Final = 900
"""What the server counts as timeout when a task has none."""
MAX_ID: Final = 1024
"""Bytes of a task or lease id that is taken; the server's have 37 at most."""
SPOOL_BYTES: Final = 64 * 1024 * 1024
SPOOL_RESULTS: Final = 2000
"""Results waiting to be sent; at either bound no more work is taken until some are delivered."""


class Event(Enum):
    """What can happen to a task."""

    LEASED = auto()
    STARTED = auto()
    DECLINED = auto()
    EXPIRED = auto()
    ENDED = auto()
    ANSWERED_OK = auto()
    ANSWERED_DEAD_LEASE = auto()
    ANSWERED_UNACCEPTABLE = auto()


class IllegalTransitionError(LatticeError):
    """An event that cannot happen in this phase: a fault of ours, never of a peer."""


TRANSITIONS: Final[dict[tuple[Phase | None, Event], Phase]] = {
    (None, Event.LEASED): Phase.WAITING,
    (Phase.WAITING, Event.LEASED): Phase.WAITING,
    (Phase.WAITING, Event.STARTED): Phase.RUNNING,
    (Phase.WAITING, Event.DECLINED): Phase.FINISHED,
    (Phase.WAITING, Event.EXPIRED): Phase.GIVEN_UP,
    (Phase.RUNNING, Event.LEASED): Phase.RUNNING,
    (Phase.RUNNING, Event.ENDED): Phase.FINISHED,
    (Phase.FINISHED, Event.LEASED): Phase.FINISHED,
    (Phase.FINISHED, Event.ANSWERED_OK): Phase.ACCEPTED,
    (Phase.FINISHED, Event.ANSWERED_DEAD_LEASE): Phase.REFUSED,
    (Phase.FINISHED, Event.ANSWERED_UNACCEPTABLE): Phase.REJECTED,
    (Phase.ACCEPTED, Event.LEASED): Phase.FINISHED,
    (Phase.REFUSED, Event.LEASED): Phase.FINISHED,
    (Phase.REJECTED, Event.LEASED): Phase.FINISHED,
    (Phase.GIVEN_UP, Event.LEASED): Phase.WAITING,
}


def follow(phase: Phase | None, event: Event) -> Phase:
    """The next phase, or IllegalTransitionError."""
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise IllegalTransitionError(f"a task in phase {phase} cannot be {event.name}") from None


@dataclass(frozen=True)
class Lease:
    """A task as it was handed out, and when it reached us."""

    task_id: str
    lease_id: str
    interpreter: str
    script: str
    timeout_sec: int
    output_limit: int
    received: BootTime


class Next(Enum):
    """What the loop does after a lease was written."""

    RUN = auto()
    """Nothing ran under this id: put it in the queue."""
    WAIT = auto()
    """It is in the queue or running: only its lease id is new."""
    SEND = auto()
    """Its result is in the spool: send it under the new lease."""


def take_lease(known: TaskRow | None, lease: Lease) -> tuple[TaskRow, Next]:
    """The row to write for a lease, and what to do once it is durable."""
    phase = follow(known.phase if known else None, Event.LEASED)
    if known is None or known.phase is Phase.GIVEN_UP:
        return _new_row(lease), Next.RUN
    # The order number stays: a result that is asked for again is the oldest, and goes first.
    row = replace(known, phase=phase, lease_id=lease.lease_id, since=lease.received)
    return row, Next.SEND if phase is Phase.FINISHED else Next.WAIT


def _new_row(lease: Lease) -> TaskRow:
    return TaskRow(
        task_id=lease.task_id,
        phase=Phase.WAITING,
        lease_id=lease.lease_id,
        interpreter=lease.interpreter,
        script=lease.script,
        timeout_sec=lease.timeout_sec,
        output_limit=lease.output_limit,
        since=lease.received,
    )


def lease_expired(row: TaskRow, now: BootTime) -> bool:
    """Whether the newest lease is too old to start: the control plane may have given it to nobody or to us again.

    A lease of another boot counts as expired: its age cannot be known.
    """
    age = now.age_of(row.since)
    timeout = row.timeout_sec if row.timeout_sec > 0 else UNLIMITED_LEASE_S
    return age is None or age > timeout + LEASE_GRACE_S


def finish(row: TaskRow, event: Event, result: str) -> TaskRow:
    """The row with its result, to be written before the result is sent; the script's text is not needed any more."""
    return replace(row, phase=follow(row.phase, event), result=result, script=None, order_no=0)


def start(row: TaskRow) -> TaskRow:
    """The row to write before the script starts: from here a crash means ``interrupted``, never a second start."""
    return replace(row, phase=follow(row.phase, Event.STARTED), script=None)


def give_up(row: TaskRow, now: BootTime) -> TaskRow:
    """The row of a lease that died before the start."""
    return replace(row, phase=follow(row.phase, Event.EXPIRED), script=None, since=now)


class Answer(Enum):
    """What the control plane said about one result."""

    STORED = auto()
    """2xx."""
    DEAD_LEASE = auto()
    """403."""
    UNACCEPTABLE = auto()
    """400: its streams or its body are not acceptable as they are."""


def settle(row: TaskRow, sent_lease: str, answer: Answer, now: BootTime) -> TaskRow | None:
    """The row after an answer, or None if nothing changes.

    The row may have moved on while the request was under way: a 403 or 400 for an older lease says nothing about
    the newer one, while a 200 is the truth about the result whatever the lease.
    """
    if row.phase is not Phase.FINISHED:
        return None
    if answer is Answer.STORED:
        return replace(row, phase=follow(row.phase, Event.ANSWERED_OK), since=now)
    if row.lease_id != sent_lease:
        return None
    event = Event.ANSWERED_DEAD_LEASE if answer is Answer.DEAD_LEASE else Event.ANSWERED_UNACCEPTABLE
    return replace(row, phase=follow(row.phase, event), since=now)


def spool_full(unsent: tuple[int, int]) -> bool:
    """Whether no more work may be taken: (number, bytes) of unsent results against the bounds."""
    count, size = unsent
    return count >= SPOOL_RESULTS or size >= SPOOL_BYTES


@dataclass(frozen=True)
class PollRhythm:
    """Seconds between polls: ``busy_s`` while there was work in the last ``busy_for_s``, else ``idle_s``.

    While the control plane tells when there is work, polls are only for what it may have forgotten: ``told_times`` the
    idle period instead of both, but at most ``told_s`` where the idle period is not longer itself.
    """

    idle_s: float = 5.0
    busy_s: float = 1.0
    busy_for_s: float = 60.0
    told_times: float = 12.0
    told_s: float = 60.0
    jitter: float = 0.1


def poll_delay(
    rhythm: PollRhythm,
    *,
    got_work: bool,
    since_work_s: float | None,
    chance: float,
    told: bool = False,
    first: bool = False,
) -> float:
    """Seconds until the next poll; 0 right after an answer that held work (the caller waits for a free slot).

    ``chance`` is uniform in 0..1 and spreads a fleet over +- ``jitter`` of the period. ``told``: the control stream is
    open. ``first``: polls pass since the last one; then it spreads over all of the period, for a fleet that began
    together, or got its control plane back together, would poll in step for minutes otherwise.
    """
    if got_work:
        return 0.0
    busy = since_work_s is not None and since_work_s < rhythm.busy_for_s
    period = rhythm.busy_s if busy else rhythm.idle_s
    if told:
        period = min(rhythm.told_times * rhythm.idle_s, max(rhythm.told_s, rhythm.idle_s))
    if first:
        return period * chance
    return period * (1 - rhythm.jitter + 2 * rhythm.jitter * chance)


def delay_when_told_no_more(rhythm: PollRhythm, *, chance: float) -> float:
    """Seconds until the next poll after the control stream was lost, at most.

    A fleet loses its streams together, so that ``chance`` (uniform in 0..1) spreads it over the whole idle period.
    """
    return rhythm.idle_s * chance


@dataclass(frozen=True)
class Pause:
    """Until when the intake waits (trio's clock), and whether news may end that sooner."""

    until: float
    ends_early: bool = True
    """False after trouble: the control plane, or our disk, gets the time that it needs, whatever is said meanwhile."""


def pause_end(pause: Pause, *, woken: bool, latest: float) -> float:
    """When the pause ends: at once if the control plane has told of work, and not after ``latest``."""
    if not pause.ends_early:
        return pause.until
    return float("-inf") if woken else min(pause.until, latest)
