"""Heartbeats, from the history of a run: for a node that lives and whose control plane can be reached they never stop.

*Clear* is the time in which the agent lives, the control plane lives, and no trouble is on the way of heartbeats; what
happens to all other requests does not count, nor what scripts do. In clear time

- from one heartbeat to the next it takes the interval, 5 % of jitter, 2 s for facts that hang, and SLACK_S on the way;
- the first comes after the exchange that may hang since before (30 s), the back-off (10 s at most, or the interval),
  and whatever a 401 or a Retry-After of the trouble before makes it wait. What arrives in that time may be an older
  one that was held, so that this bound holds until it is over.
"""

from collections.abc import Iterable
from itertools import pairwise

from tests.sim.scenario import Kind, NodePlan, Trouble
from tests.sim.trace import Trace

PATH = "/api/agent/metrics"
SLACK_S = 1.5
EXCHANGE_S, BACKOFF_S, UNAUTHORIZED_S = 30.0, 12.5, 750.0
Span = tuple[float, float]


def check_rhythm(
    node: str, plan: NodePlan, alive: list[Span], reachable: list[Span], beats: list[float], trace: Trace
) -> None:
    """Looks at the whole run."""
    troubled = [(one.begins_s, one.ends_s) for one in plan.troubles if one.paths in PATH]
    for span in without(common(alive, reachable), troubled):
        _check_span(node, plan, span, [at for at in beats if span[0] <= at <= span[1]], trace)


def _check_span(node: str, plan: NodePlan, span: Span, beats: list[float], trace: Trace) -> None:
    first = first_bound_s(plan, span[0])
    steady = plan.interval_s * 1.05 + 2.0 + SLACK_S
    moments = [span[0], *beats, span[1]]
    for earlier, later in pairwise(moments):
        bound = max(first, steady) if earlier < span[0] + first else steady
        if later - earlier > bound:
            gap = f"{later - earlier:.1f} s without a heartbeat from {earlier:.1f} s on"
            trace.violated("heartbeats", f"{node}: {gap}, the bound is {bound:.1f} s")


def first_bound_s(plan: NodePlan, begins_s: float) -> float:
    """Until the first heartbeat of a clear span."""
    return (
        EXCHANGE_S
        + max(plan.interval_s, BACKOFF_S)
        + SLACK_S
        + max(
            (_wish_s(one) for one in plan.troubles if one.paths in PATH and one.ends_s <= begins_s + EXCHANGE_S),
            default=0.0,
        )
    )


def _wish_s(trouble: Trouble) -> float:
    if trouble.kind is not Kind.STATUS:
        return 0.0
    return UNAUTHORIZED_S if trouble.status == 401 else 1.25 * float(trouble.retry_after or 0)


def common(some: Iterable[Span], others: list[Span]) -> list[Span]:
    """Where both are."""
    pairs = ((max(a, c), min(b, d)) for a, b in some for c, d in others)
    return [(begin, end) for begin, end in pairs if begin < end]


def without(some: list[Span], holes: Iterable[Span]) -> list[Span]:
    """Of the spans what no hole covers."""
    for hole_begin, hole_end in holes:
        parts = ((a, min(b, hole_begin)) for a, b in some), ((max(a, hole_end), b) for a, b in some)
        some = [(begin, end) for half in parts for begin, end in half if begin < end]
    return some
