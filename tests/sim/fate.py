"""What becomes of one request: drawn from the trouble that it meets. Pure.

A request is carried to the control plane and its answer back, both after a while, unless its fate says otherwise. What
the client sees and what the control plane does are apart: an answer can be lost of a request that was served, and one
can be served whose sender has long given up.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.sim.scenario import Kind, Trouble


class Seen(StrEnum):
    """What the client gets."""

    ANSWER = "answer"
    SILENCE = "silence"
    """Until its time limit."""
    RESET = "reset"
    """The connection is lost, before any of the answer."""
    REFUSED = "refused"
    """No connection."""
    CUT = "cut"
    """The answer, but not all of its body, then the connection is lost."""
    SPOILT = "spoilt"
    """The answer's status with a body that is not the control plane's."""
    STATUS = "status"
    """An answer of something in between."""


@dataclass(frozen=True)
class Fate:
    """``arrives_s``: after how long the control plane gets it (None: never); ``again_s``: when once more after that."""

    seen: Seen
    arrives_s: float | None
    returns_s: float
    again_s: float | None = None
    status: int = 0
    retry_after: str = ""
    is_late: bool = False
    """The client has seen it long before the control plane does."""

    def __str__(self) -> str:
        way = "never arrives" if self.arrives_s is None else f"arrives after {self.arrives_s:.3f} s"
        again = "" if self.again_s is None else f", once more {self.again_s:.1f} s later"
        status = f" {self.status}" if self.status else ""
        return f"{self.seen}{status}, {way}{again}"


LOSSES = (
    Fate(Seen.SILENCE, None, 0),
    Fate(Seen.RESET, None, 0),
    Fate(Seen.REFUSED, None, 0),
    Fate(Seen.SILENCE, 0, 0),
    Fate(Seen.RESET, 0, 0),
    Fate(Seen.RESET, 0, 0),
    Fate(Seen.CUT, 0, 0),
    Fate(Seen.SPOILT, 0, 0),
    Fate(Seen.ANSWER, 0, 0, again_s=0),
    Fate(Seen.RESET, 0, 0, again_s=0),
)
LATE = Fate(Seen.RESET, 0, 0, is_late=True)
LATE_SHARE = 0.15


def draw_fate(rng: random.Random, troubles: Sequence[Trouble], path: str, now_s: float) -> Fate:
    """By the first trouble that a request to ``path`` meets now."""
    plain = Fate(Seen.ANSWER, rng.uniform(0.003, 0.05), rng.uniform(0.003, 0.05))
    met = next((one for one in troubles if one.begins_s <= now_s < one.ends_s and one.paths in path), None)
    if met is None or rng.random() >= met.share:
        return plain
    rest_s = met.ends_s - now_s
    match met.kind:
        case Kind.LOSSY:
            return _draw_loss(rng, plain)
        case Kind.SLOW:
            return replace(plain, arrives_s=rng.uniform(0, 25), returns_s=rng.uniform(0, 25))
        case Kind.HOLE_OUT:
            return replace(plain, seen=Seen.SILENCE, arrives_s=rest_s + rng.uniform(0, 1))
        case Kind.HOLE_BACK:
            return replace(plain, seen=Seen.SILENCE)
        case Kind.HOLE:
            return replace(plain, seen=Seen.SILENCE, arrives_s=None)
        case Kind.REFUSED:
            return replace(plain, seen=Seen.REFUSED, arrives_s=None)
        case Kind.STATUS:
            return replace(plain, seen=Seen.STATUS, arrives_s=None, status=met.status, retry_after=met.retry_after)


def _draw_loss(rng: random.Random, plain: Fate) -> Fate:
    if rng.random() < LATE_SHARE:
        return replace(LATE, arrives_s=rng.choice((1.0, 30.0, 300.0)) * rng.uniform(0.5, 1.5), returns_s=0.01)
    loss = rng.choice(LOSSES)
    return replace(
        loss,
        arrives_s=None if loss.arrives_s is None else plain.arrives_s,
        returns_s=plain.returns_s,
        again_s=None if loss.again_s is None else rng.choice((0.001, 1.0, 60.0)) * rng.random(),
    )
