"""What happens in a seed, as values: drawn first, then carried out by ``world``. Times are seconds from its start.

Trouble ends at ``Scenario.quiet_from_s``; from there on nothing new goes wrong, so that it can be asked whether
everything has come to its end.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

DAY_S = 86_400.0
QUIET_FROM_S = (400.0, 1000.0)
ALL_PATHS = "/api/agent"
RESULTS, POLLS, HELLO, BEATS, USAGE = ("/task-", "/tasks", "/hello", "/metrics", "usage")


class Plane(StrEnum):
    """Who answers."""

    SERVER_STUB = "server_stub"
    UNMODIFIED = "unmodified"


class Kind(StrEnum):
    """Of trouble on the way; what each does to a request is in ``fate``."""

    LOSSY = "lossy"
    """Each request may be lost, on either way, delayed, doubled, delivered late, or its answer cut or spoilt."""
    SLOW = "slow"
    HOLE_OUT = "hole out"
    """Nothing gets out; what was sent is delivered when it ends."""
    HOLE_BACK = "hole back"
    """Requests arrive and no answer comes back."""
    HOLE = "hole"
    """Nothing passes, and nothing of it is delivered later."""
    REFUSED = "refused"
    """Nothing listens."""
    STATUS = "status"
    """Something in between answers, with ``status``."""


class Trigger(StrEnum):
    """What a death waits for once its time has come; ``steps`` of the scheduler count from there."""

    TIME = "time"
    LEASED = "leased"
    STARTED = "started"
    ENDED = "ended"
    SENT = "sent"
    """A result is on its way; of the control plane: it has arrived."""


class How(StrEnum):
    """A party ends."""

    KILLED = "killed"
    REBOOT = "reboot"
    """Killed with its machine: another boot id, and the boot clock begins anew."""
    STOPPED = "stopped"
    """As by SIGTERM."""


@dataclass(frozen=True)
class Job:
    """A task that an operator creates, and what its script does on every node that runs it."""

    number: int
    at_s: float
    nodes: tuple[int, ...]
    timeout_s: int
    lasts_s: float
    prints: int
    exit_code: int = 0
    is_forbidden: bool = False
    """The nodes' policy refuses it."""
    spawner_dies: bool = False
    grace_s: float = 0.0
    queue_timeout_s: int = 0
    concurrency: int = 0
    cancel_after_s: float | None = None
    rerun_after_s: float | None = None
    is_forgotten: bool = False
    """The unmodified server drops its row of the result, and hands the task out again."""


@dataclass(frozen=True)
class Death:
    """Not before ``at_s``, ``steps`` of its scheduler after ``trigger``; it comes back ``down_s`` later."""

    at_s: float
    trigger: Trigger
    steps: int
    down_s: float
    how: How


@dataclass(frozen=True)
class Trouble:
    """On the way of one node's requests whose path holds ``paths``."""

    begins_s: float
    ends_s: float
    kind: Kind
    paths: str = ALL_PATHS
    share: float = 1.0
    status: int = 0
    retry_after: str = ""


@dataclass(frozen=True)
class Traffic:
    """Of the node's proxy cores: bytes of a user at a time; or, with no user, the core starts anew."""

    at_s: float
    core: int
    user: str
    count: int = 0


@dataclass(frozen=True)
class NodePlan:
    """One node and its way to the control plane."""

    slots: int
    interval_s: float
    poll_idle_s: float
    wall_moves: tuple[tuple[float, float], ...]
    deaths: tuple[Death, ...]
    troubles: tuple[Trouble, ...]
    drains: tuple[float, ...]
    """When the operator drains it, lets it work again, and so on."""
    traffic: tuple[Traffic, ...] = ()
    has_streams: bool = False
    """Control streams get through."""


@dataclass(frozen=True)
class Scenario:
    """All of it."""

    seed: int
    plane: Plane
    quiet_from_s: float
    nodes: tuple[NodePlan, ...]
    jobs: tuple[Job, ...]
    server_deaths: tuple[Death, ...]
    server_wall_moves: tuple[tuple[float, float], ...]

    def lines(self) -> Iterator[str]:
        """For a reader."""
        yield f"seed {self.seed}: {self.plane}, {len(self.nodes)} nodes, quiet from {self.quiet_from_s:.0f} s"
        yield from (f"  the control plane's clock: {by:+.0f} s from {at:.0f} s on" for at, by in self.server_wall_moves)
        yield from (f"  the control plane: {shown(death)}" for death in self.server_deaths)
        for number, node in enumerate(self.nodes, 1):
            streams = "control streams" if node.has_streams else "no control stream"
            yield f"  node-{number}: {node.slots} slots, beats every {node.interval_s:.0f} s, {streams}"
            yield from (f"    clock: {by:+.0f} s from {at:.0f} s on" for at, by in node.wall_moves)
            yield from (f"    {shown(one)}" for one in (*node.deaths, *node.troubles, *node.traffic))
        yield from (f"  {shown(job)}" for job in self.jobs)


def shown(value: object) -> str:
    """A value without the fields that are as ever."""
    parts = [
        f"{field.name} {_plain(getattr(value, field.name))}"
        for field in fields(value)  # type: ignore[arg-type]
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__.lower()}: {', '.join(parts)}"


def _plain(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(seed)
    quiet_from_s = rng.uniform(*QUIET_FROM_S)
    plane = Plane.SERVER_STUB if rng.random() < 0.75 else Plane.UNMODIFIED
    count = 1 if plane is Plane.UNMODIFIED else rng.choice((1, 1, 1, 2, 2, 3))
    jobs = tuple(_draw_job(rng, number, quiet_from_s, count) for number in range(rng.randint(2, 8)))
    ends_s = [job.at_s + min(job.lasts_s, job.timeout_s) for job in jobs]
    nodes = tuple(_draw_node(rng, quiet_from_s, ends_s) for _ in range(count))
    server_deaths = _draw_deaths(
        rng, quiet_from_s, rng.choice((0, 0, 1, 2)), (Trigger.TIME, Trigger.SENT, Trigger.LEASED)
    )
    return Scenario(seed, plane, quiet_from_s, nodes, jobs, server_deaths, _draw_clock(rng, quiet_from_s))


def _draw_node(rng: random.Random, until_s: float, ends_s: list[float]) -> NodePlan:
    triggers = tuple(Trigger)
    return NodePlan(
        slots=rng.choice((1, 2, 4)),
        interval_s=rng.choice((10.0, 30.0, 60.0, 60.0)),
        poll_idle_s=rng.choice((10.0, 30.0, 60.0)),
        wall_moves=_draw_clock(rng, until_s),
        deaths=_draw_deaths(rng, until_s, rng.choice((0, 1, 1, 2, 3)), triggers),
        troubles=tuple(_draw_trouble(rng, until_s, ends_s) for _ in range(rng.randint(0, 4))),
        drains=tuple(sorted(rng.uniform(0, until_s) for _ in range(2))) if rng.random() < 0.1 else (),
        traffic=_draw_traffic(rng, until_s) if rng.random() < 0.4 else (),
        has_streams=rng.random() < 0.7,
    )


def _draw_clock(rng: random.Random, until_s: float) -> tuple[tuple[float, float], ...]:
    """Wrong from the start by days, or right; then it jumps a few times."""
    begin = ((0.0, rng.uniform(-9, 9) * DAY_S),) if rng.random() < 0.4 else ()
    jumps = rng.choice((0, 0, 1, 2))
    sizes = (3.0, 400.0, 5_000.0, DAY_S)
    return begin + tuple(
        sorted((rng.uniform(0, until_s), rng.choice((-1, 1)) * rng.choice(sizes)) for _ in range(jumps))
    )


def _draw_deaths(rng: random.Random, until_s: float, count: int, triggers: tuple[Trigger, ...]) -> tuple[Death, ...]:
    times = sorted(rng.uniform(0, until_s * 0.9) for _ in range(count))
    return tuple(
        Death(
            at_s,
            rng.choice(triggers),
            int(rng.expovariate(1 / 12)),
            rng.choice((0.1, 2.0, 30.0, 400.0)),
            rng.choice((How.KILLED, How.KILLED, How.KILLED, How.REBOOT, How.STOPPED)),
        )
        for at_s in times
    )


def _draw_trouble(rng: random.Random, until_s: float, ends_s: list[float]) -> Trouble:
    """Half of it begins shortly before a script may end: results are few, and what becomes of them matters most."""
    kind = rng.choice((Kind.LOSSY, Kind.LOSSY, Kind.LOSSY, Kind.STATUS, Kind.STATUS, *Kind))
    begins_s = rng.uniform(0, until_s * 0.9)
    if rng.random() < 0.5:
        begins_s = max(0.0, min(rng.choice(ends_s) - rng.uniform(0, 10), until_s * 0.9))
    lasts_s = rng.choice((20.0, 100.0, 100.0, 400.0)) * rng.uniform(0.5, 1.5)
    paths = rng.choice((ALL_PATHS, ALL_PATHS, RESULTS, RESULTS, POLLS, HELLO, BEATS, USAGE))
    share = rng.choice((0.2, 0.5, 0.9)) if kind in (Kind.LOSSY, Kind.SLOW) else 1.0
    status, retry_after = 0, ""
    if kind is Kind.STATUS:
        status = rng.choice((429, 429, 500, 500, 502, 503, 401))
        retry_after = rng.choice(("", "0", "7", "120")) if status in (429, 503) else ""
    return Trouble(begins_s, min(begins_s + lasts_s, until_s), kind, paths, share, status, retry_after)


def _draw_job(rng: random.Random, number: int, until_s: float, nodes: int) -> Job:
    timeout_s = rng.choice((1, 30, 30, 120, 600))
    everywhere = nodes > 1 and rng.random() < 0.5
    return Job(
        number=number,
        at_s=rng.uniform(0, until_s * 0.9),
        nodes=tuple(range(nodes)) if everywhere else (rng.randrange(nodes),),
        timeout_s=timeout_s,
        lasts_s=rng.choice((0.0, 0.1, 5.0, timeout_s * rng.uniform(0.5, 1.3), timeout_s + 320.0)),
        prints=rng.choice((0, 20, 20, 3_000, 90_000)),
        exit_code=rng.choice((0, 0, 0, 1)),
        is_forbidden=rng.random() < 0.08,
        spawner_dies=rng.random() < 0.05,
        grace_s=rng.choice((0.0, 0.0, 3.0)),
        queue_timeout_s=rng.choice((0, 0, 0, 60)),
        concurrency=rng.choice((0, 0, 1)) if everywhere else 0,
        cancel_after_s=rng.uniform(0, 60) if rng.random() < 0.15 else None,
        rerun_after_s=rng.uniform(200, 400) if rng.random() < 0.15 else None,
        is_forgotten=rng.random() < 0.2,
    )


def _draw_traffic(rng: random.Random, until_s: float) -> tuple[Traffic, ...]:
    events = [
        Traffic(rng.uniform(0, until_s), rng.randrange(2), rng.choice(("ann", "bob")), rng.randint(1, 10_000))
        for _ in range(rng.randint(5, 40))
    ]
    events += [Traffic(rng.uniform(0, until_s), rng.randrange(2), "") for _ in range(rng.randint(0, 2))]
    return tuple(sorted(events, key=lambda event: event.at_s))
