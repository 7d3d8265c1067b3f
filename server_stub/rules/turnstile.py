"""How fast a fleet that comes back together is let in. Time is passed in, in seconds that never go back."""

from typing import Final

LONGEST_S: Final = 60.0
"""Nobody is sent away for longer; a fleet that is larger than that allows is asked again."""


class Turnstile:
    """``burst`` at once and ``rate`` a second pass. The others are told when to come again, each another time: one
    after the other at the same rate, so that those who obey find it open.

    >>> turnstile = Turnstile(rate=2.0, burst=2)
    >>> [turnstile.enter(now=0.0) for _ in range(5)]
    [0.0, 0.0, 0.5, 1.0, 1.5]
    >>> turnstile.enter(now=0.5)
    0.0
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._each_s: Final = 1 / rate
        self._slack_s: Final = (burst - 1) / rate
        self._used_until = 0.0
        self._promised_until = 0.0

    def enter(self, now: float) -> float:
        """0 for who passes, otherwise the seconds until it is their turn."""
        used = max(self._used_until, now)
        if used - now <= self._slack_s:
            self._used_until = used + self._each_s
            return 0.0
        self._promised_until = max(self._promised_until, now) + self._each_s
        wait_s = min(self._promised_until - now, LONGEST_S)
        self._promised_until = now + wait_s
        return wait_s
