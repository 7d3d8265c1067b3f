"""A task for many nodes: how many of them at once, when the rest is spared, and who is told that there is room.

A target whose lease has died does not count as leased: its script has ended by then, whatever became of the node.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from server_stub.rules.leases import is_alive
from server_stub.rules.outcomes import counts_as_failure
from server_stub.rules.states import Target, TargetState

_WOKEN_BEYOND: Final = 8


@dataclass(frozen=True)
class FanOut:
    """What the task asks for; 0 is no limit."""

    concurrency: int = 0
    max_failures: int = 0


NO_LIMITS: Final = FanOut()


@dataclass(frozen=True)
class Standing:
    """Where the task stands. ``free`` is how many more targets may be leased, ``None`` any number."""

    free: int | None = None
    stopped: bool = False
    """Nothing more is handed out."""


def standing(fan_out: FanOut, targets: Sequence[Target], now: datetime) -> Standing:
    """``targets`` are all of the task's."""
    stopped = 0 < fan_out.max_failures <= sum(counts_as_failure(target) for target in targets)
    if not fan_out.concurrency:
        return Standing(None, stopped)
    return Standing(max(0, fan_out.concurrency - sum(_is_leased(target, now) for target in targets)), stopped)


def spared(where: Standing, targets: Sequence[Target]) -> list[str]:
    """Nodes whose target is cancelled now, because too many others have failed."""
    return [target.node_id for target in targets if where.stopped and target.state is TargetState.QUEUED]


def waiting(where: Standing, targets: Sequence[Target]) -> tuple[str, ...]:
    """Nodes that could be handed the task now and were kept from it before: to be told, if they can be."""
    if not where.free or where.stopped:
        return ()
    return tuple(target.node_id for target in targets if target.state is TargetState.QUEUED)


def woken(free: int) -> int:
    """Of the waiting nodes, so many are told: more than there are places, as some may be busy; not all, as most would
    come for nothing."""
    return 2 * free + _WOKEN_BEYOND


def _is_leased(target: Target, now: datetime) -> bool:
    return target.state is TargetState.LEASED and is_alive(target.lease_expires_at, now)
