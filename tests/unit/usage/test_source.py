from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.source import UsageSource


class Scripted(UsageSource):
    collector_source = "file"

    def __init__(self, read: Callable[[], Awaitable[RawUsage]]) -> None:
        super().__init__(timeout_s=3.0)
        self._script = read

    async def _read(self) -> RawUsage:
        return await self._script()

    def __str__(self) -> str:
        return "the scripted source"


async def test_a_reading_comes_through() -> None:
    async def read() -> RawUsage:
        return RawUsage({"a": 1})

    source = Scripted(read)
    assert await source.read() == RawUsage({"a": 1})
    await source.aclose()


async def test_a_source_that_hangs_is_cut_off_at_its_deadline(autojump_clock: MockClock) -> None:
    async def read() -> RawUsage:
        await trio.sleep_forever()
        raise AssertionError

    began = trio.current_time()
    with pytest.raises(UsageSourceError, match="the scripted source did not answer within 3 s"):
        await Scripted(read).read()
    assert trio.current_time() - began == pytest.approx(3.0)


@pytest.mark.parametrize(
    "fault", [KeyError("x"), OSError("x"), ValueError("x"), ExceptionGroup("x", [ValueError("y")])]
)
async def test_whatever_a_source_raises_comes_out_as_its_own_error(fault: Exception) -> None:
    async def read() -> RawUsage:
        raise fault

    with pytest.raises(UsageSourceError, match=f"the scripted source failed: {type(fault).__name__}"):
        await Scripted(read).read()


async def test_cancellation_is_not_an_error_of_the_source() -> None:
    async def read() -> RawUsage:
        await trio.sleep_forever()
        raise AssertionError

    with trio.CancelScope() as scope:
        scope.cancel()
        await Scripted(read).read()
    assert scope.cancelled_caught
