"""When to try again: exponential, jittered over a wide window, never earlier than the server asked.

A fleet that lost its server together must not come back together. The window of a delay therefore reaches from half
the base to the current ceiling, so that it widens with every failure; and where the server names a time itself
(Retry-After), the window begins there and is at least a quarter of it wide.
"""

import random
from typing import Final

MAX_RETRY_AFTER_S: Final = 15 * 60.0
"""A server may ask for patience, not for silence: longer wishes count as this."""

_GROWTH: Final = 2.0
_SPREAD: Final = 1.25  # upper end of the window over its lower end, at least


class Backoff:
    """The delays of one caller, in seconds. Not jittered by a global generator: the caller passes its own.

    ``base_s`` is the first ceiling, ``cap_s`` the last. Every delay is at least base_s / 2, and at most cap_s unless
    Retry-After asks for more; it is never above 1.25 * MAX_RETRY_AFTER_S or cap_s, whichever is larger.
    """

    def __init__(self, base_s: float, cap_s: float) -> None:
        if not 0 < base_s <= cap_s:
            raise ValueError(f"base_s {base_s} must be above 0 and not above cap_s {cap_s}")
        self._base_s = base_s
        self._cap_s = cap_s
        self._ceiling_s = base_s

    def failed(self, rng: random.Random, retry_after_s: float | None = None) -> float:
        """The delay before the next try, after one more failure."""
        floor_s = max(self._base_s / 2, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
        delay_s = rng.uniform(floor_s, max(self._ceiling_s, floor_s * _SPREAD))
        self._ceiling_s = min(self._cap_s, self._ceiling_s * _GROWTH)
        return delay_s

    def succeeded(self) -> None:
        """Begin again at the base."""
        self._ceiling_s = self._base_s
