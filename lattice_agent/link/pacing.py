"""How fast the agent asks: a token bucket, and two lanes of callers in front of it.

The limit is a promise over any ten seconds, burst included: the bucket refills at 90 % of it and holds 80 % of one
second, so ten seconds see at most 9.8 times the limit. The server's own bucket (10 a second per address, protocol
section 1.0) is then never emptied by one agent, and two behind one address still fit.

The urgent lane is for the heartbeat. It is served before the ordinary lane, and stays bounded because two urgent
turns in a row are not given while an ordinary request waits: even a lane that is never empty takes only half the pace.
The lanes are as long as there are callers; each service waits for one turn at a time.
"""

from typing import Final

import trio

_REFILL: Final = 0.9
_BURST_S: Final = 0.8
_ROUNDING: Final = 1e-6
"""Of a token. Sleeping exactly the computed time can leave 0.9999999 of one; the rest would be a sleep of no length."""


class TokenBucket:
    """The arithmetic alone; the time in seconds, never going back, is passed in.

    >>> bucket = TokenBucket(limit_per_s=5.0, now_s=0.0)
    >>> [bucket.take(0.0) for _ in range(4)]
    [0.0, 0.0, 0.0, 0.0]
    >>> round(bucket.take(0.0), 3)
    0.222
    """

    def __init__(self, *, limit_per_s: float, now_s: float) -> None:
        self._refilled_s = now_s
        self._set(limit_per_s)
        self._tokens = self._burst

    def take(self, now_s: float) -> float:
        """Take a token and return 0, or take nothing and return the seconds until there will be one."""
        self._refill(now_s)
        if self._tokens < 1.0 - _ROUNDING:
            return (1.0 - self._tokens) / self._rate_per_s
        self._tokens = max(0.0, self._tokens - 1.0)
        return 0.0

    def set_limit(self, limit_per_s: float, now_s: float) -> None:
        """Go on at another pace: tokens already earned stay, up to the new burst."""
        self._refill(now_s)
        self._set(limit_per_s)
        self._tokens = min(self._tokens, self._burst)

    def _set(self, limit_per_s: float) -> None:
        self._rate_per_s = limit_per_s * _REFILL
        self._burst = max(1.0, limit_per_s * _BURST_S)

    def _refill(self, now_s: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now_s - self._refilled_s) * self._rate_per_s)
        self._refilled_s = now_s


class Lanes:
    """Who is next: urgent before ordinary, in order of arrival within each, at most every other turn urgent."""

    def __init__(self) -> None:
        self._urgent: list[object] = []
        self._ordinary: list[object] = []
        self._last_was_urgent = False

    def join(self, ticket: object, *, urgent: bool) -> None:
        """Stand at the end of a lane."""
        (self._urgent if urgent else self._ordinary).append(ticket)

    def next(self) -> object | None:
        """The ticket whose turn it is, or None when nobody waits."""
        if self._urgent and not (self._last_was_urgent and self._ordinary):
            return self._urgent[0]
        return self._ordinary[0] if self._ordinary else None

    def served(self, ticket: object) -> None:
        """Note that the next one took its turn, and let it leave."""
        self._last_was_urgent = ticket in self._urgent
        self.leave(ticket)

    def leave(self, ticket: object) -> None:
        """Step out, served or not."""
        for lane in (self._urgent, self._ordinary):
            if ticket in lane:
                lane.remove(ticket)


class Pacer:
    """The lanes in front of one bucket, on trio's clock."""

    def __init__(self, limit_per_s: float) -> None:
        self._limit_per_s = limit_per_s
        self._bucket: TokenBucket | None = None  # made at the first turn: the clock exists only inside a trio run
        self._lanes = Lanes()
        self._changed = trio.Event()

    async def turn(self, *, urgent: bool = False) -> None:
        """Return when the caller may send one request. Cancelling gives the place up and costs no token."""
        ticket = object()
        self._lanes.join(ticket, urgent=urgent)
        self._wake()
        try:
            await self._wait_for(ticket)
            self._lanes.served(ticket)
        finally:
            self._lanes.leave(ticket)
            self._wake()

    def set_rate(self, limit_per_s: float) -> None:
        """Change the limit, in requests a second; who waits is told."""
        self._limit_per_s = limit_per_s
        if self._bucket is not None:
            self._bucket.set_limit(limit_per_s, trio.current_time())
            self._wake()

    async def _wait_for(self, ticket: object) -> None:
        await trio.lowlevel.checkpoint()
        while True:
            changed = self._changed
            pause_s = self._take() if self._lanes.next() is ticket else float("inf")
            if pause_s == 0.0:
                return
            with trio.move_on_after(pause_s):
                await changed.wait()

    def _take(self) -> float:
        now_s = trio.current_time()
        if self._bucket is None:
            self._bucket = TokenBucket(limit_per_s=self._limit_per_s, now_s=now_s)
        return self._bucket.take(now_s)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
