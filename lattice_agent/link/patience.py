"""How long a service waits after a verdict: trouble passes by itself, a refused token does not."""

import random
from typing import Final

from lattice_agent.link.backoff import Backoff
from lattice_agent.link.verdict import Kind, Verdict

UNAUTHORIZED_BASE_S: Final = 60.0
UNAUTHORIZED_CAP_S: Final = 600.0
"""401 needs a human, and each attempt costs the server a slow hash; ten minutes is soon enough after the repair."""


class Patience:
    """The back-off of one service; ``base_s`` and ``cap_s`` (seconds) are for everything but 401."""

    def __init__(self, base_s: float = 1.0, cap_s: float = 60.0) -> None:
        self._trouble = Backoff(base_s, cap_s)
        self._unauthorized = Backoff(UNAUTHORIZED_BASE_S, UNAUTHORIZED_CAP_S)

    def after(self, verdict: Verdict, rng: random.Random) -> float:
        """Seconds to wait before the next try; 0 after ok, which also forgets all trouble."""
        if verdict.kind is Kind.OK:
            self._trouble.succeeded()
            self._unauthorized.succeeded()
            return 0.0
        backoff = self._unauthorized if verdict.kind is Kind.UNAUTHORIZED else self._trouble
        return backoff.failed(rng, verdict.retry_after_s)


def spread(period_s: float, share: float, rng: random.Random) -> float:
    """``period_s`` give or take ``share`` of it, so that a fleet that started together does not stay in step."""
    return rng.uniform(period_s * (1 - share), period_s * (1 + share))
