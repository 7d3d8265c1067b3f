"""How many cells of one profile are kept ready. Pure: time is passed in, in seconds of a monotonic clock.

The target starts at what is always kept (2 for the default profile, 0 for others). Whoever finds no cell ready raises
it by one, up to a bound; every minute in which nobody had to wait lowers it again.
"""

from typing import Final

KEPT: Final = 2
"""Ready cells of the default profile."""
MOST: Final = 8
"""Bound of the target of one profile."""
SHRINK_S: Final = 60.0
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 30.0
"""After a cell could not be built nothing is built in advance for this long; doubles with each failure."""


class PoolPolicy:
    """The decisions for one profile."""

    def __init__(self, kept: int, now: float) -> None:
        self._kept = kept
        self._target = kept
        self._last_wait = now
        self._failures = 0
        self._not_before = now

    @property
    def target(self) -> int:
        """Cells that should be ready or on their way."""
        return self._target

    def keep(self, kept: int) -> None:
        """So many are to be ready from now on, whatever the demand."""
        self._kept = kept
        self._target = max(min(self._target, MOST), kept) if kept else 0

    def had_to_wait(self, now: float) -> None:
        """Somebody wanted a cell and none was ready."""
        self._target = min(self._target + 1, MOST)
        self._last_wait = now

    def built(self) -> None:
        """A cell became ready."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """A cell could not be built."""
        self._failures += 1
        self._not_before = now + min(RETRY_FIRST_S * 2 ** min(self._failures - 1, 16), RETRY_MOST_S)

    def missing(self, now: float, ready: int, building: int) -> int:
        """Cells to build now."""
        return max(self._target - ready - building, 0) if now >= self._not_before else 0

    def surplus(self, now: float, ready: int) -> int:
        """Ready cells to give up now; lowers the target first where it is due."""
        if now - self._last_wait >= SHRINK_S and self._target > self._kept:
            self._target -= 1
            self._last_wait = now
        return max(ready - self._target, 0)

    @property
    def idle(self) -> bool:
        """Nothing is kept: the profile may be forgotten."""
        return self._target == 0
