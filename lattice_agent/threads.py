"""Blocking calls in a thread, where there may be no thread to be had (RLIMIT_NPROC, pids.max, no memory)."""

import errno
from collections.abc import Callable
from typing import Any, TypeVar

import trio

T = TypeVar("T")


async def run_in_thread(
    fn: Callable[..., T], *args: Any, limiter: trio.CapacityLimiter | None = None, abandon_on_cancel: bool = False
) -> T:
    """``trio.to_thread.run_sync``; raises OSError (EAGAIN), and not RuntimeError, where no thread can be started.

    So it is trouble of the machine to whoever deals with such, and not a fault of ours. ``fn`` has not begun then.
    """
    begun = False

    def call() -> T:
        nonlocal begun
        begun = True
        return fn(*args)

    try:
        return await trio.to_thread.run_sync(call, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
    except RuntimeError as error:
        if begun:
            raise
        raise OSError(errno.EAGAIN, "no thread can be started: the limit of processes, or of memory") from error
