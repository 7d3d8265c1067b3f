"""Where the store's synchronous calls run."""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

T = TypeVar("T")


class OneThread:
    """Production: one call at a time in a worker thread. A call that has begun is finished whatever happens to its
    request; the others wait in order, as many as the server has connections."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(1)

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Runs ``function`` and gives back what it returns or raises."""
        return await anyio.to_thread.run_sync(function, limiter=self._limiter)


async def run_directly(function: Callable[[], T], /) -> T:
    """Simulation: in the event loop, so that no virtual time passes meanwhile."""
    await anyio.lowlevel.checkpoint()
    return function()
