"""A thread that cannot be started is trouble of the machine; what fails in one that could is not."""

import errno
import threading
from typing import NoReturn

import pytest
import trio

from lattice_agent.threads import run_in_thread


async def test_it_is_an_error_of_the_system_that_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio._core._thread_cache, "THREAD_CACHE", trio._core._thread_cache.ThreadCache())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    limiter = trio.CapacityLimiter(1)
    for _ in range(2):  # the place of the first is given back
        with pytest.raises(OSError, match="no thread can be started") as caught:
            await run_in_thread(len, "abc", limiter=limiter)
        assert caught.value.errno == errno.EAGAIN


async def test_what_is_raised_in_a_thread_is_left_alone() -> None:
    def fail() -> NoReturn:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        await run_in_thread(fail)
    assert await run_in_thread(len, "abc") == 3
