"""How fast a fleet that comes back together is let in. Time is passed in, in seconds that never go back."""

from collections.abc import Callable
from typing import Final

LONGEST_S: Final = 60.0
"""Nobody is sent away for longer; a fleet that is larger than that allows is asked again."""


def turnstile(rate: float, burst: int) -> Callable[[float], float]:
    """What everybody goes through with the time of now; gives 0 to who passes, else the seconds until it is their turn.

    ``burst`` at once and ``rate`` a second pass. The others are told when to come again, each another time: one after
    the other at the same rate, so that those who obey find it open.

    >>> enter = turnstile(rate=2.0, burst=2)
    >>> [enter(0.0) for _ in range(5)]
    [0.0, 0.0, 0.5, 1.0, 1.5]
    >>> enter(0.5)
    0.0
    """
    each_s = 1 / rate
    slack_s = (burst - 1) / rate
    used_until = promised_until = 0.0

    def enter(now: float) -> float:
        nonlocal used_until, promised_until
        used = max(used_until, now)
        if used - now <= slack_s:
            used_until = used + each_s
            return 0.0
        wait_s = min(max(promised_until - now, 0.0) + each_s, LONGEST_S)
        promised_until = now + wait_s
        return wait_s

    return enter
