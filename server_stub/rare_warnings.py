"""What anybody who reaches the port can make the HTTP server log is logged rarely: a line for each of their requests
would fill the disk before they have shown a token."""

import logging
import time
from collections.abc import Callable
from typing import Final

PERIOD_S: Final = 60.0


class RareWarnings(logging.Filter):
    """Of a logger: lets the warnings of each place in the source through once in PERIOD_S, with the number of those
    that were left out since then. Errors pass."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._told_at: dict[tuple[str, int], float] = {}
        self._left_out: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if record.levelno != logging.WARNING:
            return True
        place, now = (record.pathname, record.lineno), self._now()
        if place in self._told_at and now - self._told_at[place] < PERIOD_S:
            self._left_out[place] = self._left_out.get(place, 0) + 1
            return False
        self._told_at[place] = now
        if count := self._left_out.pop(place, 0):
            record.msg, record.args = f"{record.getMessage()} (and {count} times since this was told last)", ()
        return True
