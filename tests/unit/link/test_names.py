"""Name lookups end in time, with the words for it."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.link.names import LOOKUP_S, LOOKUPS_MOST, Lookups


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that says nothing until the test is over; names that it was asked for."""
    asked: list[str] = []
    over = threading.Event()

    def look_up(host: str, *_: Any) -> list[Any]:
        asked.append(host)
        over.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked
    over.set()


async def test_a_lookup_that_nobody_answers_is_given_up(stuck: list[str], mock_clock: MockClock) -> None:
    lookups = Lookups()
    async with trio.open_nursery() as nursery:

        async def look_up() -> None:
            with pytest.raises(socket.gaierror, match="no answer from a name server within 8 s"):
                await lookups.getaddrinfo("control.test", 443)

        for _ in range(LOOKUPS_MOST + 3):
            nursery.start_soon(look_up)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(LOOKUP_S)
    assert len(stuck) <= LOOKUPS_MOST  # threads that were left behind count


async def test_what_the_resolver_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(socket.gaierror, match="not known"):
        await Lookups().getaddrinfo("control.test", 443)
