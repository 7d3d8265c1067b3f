"""Traffic through a core that goes on beside a test: one random download after the other."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from tests.rigs.real_processes import wait_until
from tests.rigs.v2ray import LIMIT_S, CutOffError, V2rayCore

PAUSE_S: Final = 0.02
"""Between two downloads, so that the machine has time for anything else."""
LARGEST: Final = 6
"""Decimal digits of the largest download; small ones are as likely."""


class SteadyTraffic:
    """``passed`` counts downloads, ``cut_off`` those that did not come through: the core was killed, or is just new."""

    def __init__(self, core: V2rayCore, rng: random.Random) -> None:
        self.passed = 0
        self.cut_off = 0
        self._core = core
        self._rng = rng

    def wait(self, count: int) -> None:
        """Until so many more have passed."""
        until = self.passed + count
        wait_until(lambda: self.passed >= until, f"{count} downloads")

    def run(self, enough: threading.Event) -> None:
        while not enough.wait(PAUSE_S):
            try:
                self._core.traffic(self._rng.choice(self._core.users), int(10 ** self._rng.uniform(0, LARGEST)))
            except CutOffError:
                self.cut_off += 1
            else:
                self.passed += 1


@contextmanager
def steady_traffic(core: V2rayCore, rng: random.Random) -> Iterator[SteadyTraffic]:
    """Has ended after the block; raises what went wrong with it."""
    traffic = SteadyTraffic(core, random.Random(rng.random()))
    enough = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(traffic.run, enough)
        try:
            yield traffic
        finally:
            enough.set()
        running.result(LIMIT_S)
