"""Runs a trio program for a command that may be interrupted: SIGINT, SIGTERM and SIGHUP cancel it, so that what it has
started comes to its end before the command does."""

import signal
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNALLED: Final = 128
Result = TypeVar("Result")


def run_interruptible(program: Callable[[], Awaitable[Result]]) -> Result:
    """The program's result. Raises what the program raises, out of any exception group.

    After signal N everything the program had started is gone, and this raises SystemExit with the code 128 + N.
    """
    try:
        return trio.run(_under_signals, program)
    except BaseExceptionGroup as group:
        raise _first(group) from group


async def _under_signals(program: Callable[[], Awaitable[Result]]) -> Result:
    received: list[int] = []
    results: list[Result] = []
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for number in signals:
                    received.append(number)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            results.append(await program())
            nursery.cancel_scope.cancel()
    if received:
        raise SystemExit(SIGNALLED + received[0])
    return results[0]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
