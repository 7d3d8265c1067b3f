"""Hashes of passwords: bounded in number at once, and as dear for a name that there is not."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
import trio.testing

from server_stub.errors import Refused
from server_stub.passwords import MEMORY_KIB, WAITING_MOST, Passwords
from server_stub.runner import run_directly

T = TypeVar("T")
PASSWORD = "correct horse battery"


async def test_a_hash_is_of_its_password_alone() -> None:
    passwords = Passwords(run_directly)
    encoded = await passwords.hash(PASSWORD)
    assert encoded.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t=2,p=1$")
    assert encoded != await passwords.hash(PASSWORD)
    assert await passwords.matches(PASSWORD, encoded)
    for other in ("", PASSWORD + " ", PASSWORD.upper()):
        assert not await passwords.matches(other, encoded)
    for damaged in ("", "x", encoded[:-4]):
        assert not await passwords.matches(PASSWORD, damaged)
    assert not await passwords.matches("no account has this password", None)


async def test_an_unknown_name_takes_as_long() -> None:
    passwords = Passwords(run_directly)
    encoded = await passwords.hash(PASSWORD)

    async def fastest(known: str | None) -> float:
        times = []
        for _ in range(5):
            begun = time.process_time()
            await passwords.matches("wrong", known)
            times.append(time.process_time() - begun)
        return min(times)

    await passwords.matches("wrong", None)  # the first one makes the hash that is compared with
    assert 0.5 < await fastest(None) / await fastest(encoded) < 2.0


async def test_too_many_at_once_are_refused_and_the_others_served() -> None:
    go = trio.Event()

    async def slow(function: Callable[[], T], /) -> T:
        await go.wait()
        return function()

    passwords = Passwords(slow)
    outcomes: list[object] = []

    async def one() -> None:
        outcomes.append(await passwords.matches(PASSWORD, None))

    async with trio.open_nursery() as nursery:
        for _ in range(WAITING_MOST):
            nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Refused) as refused:
            await passwords.matches(PASSWORD, None)
        assert refused.value.status == 429
        go.set()
    assert outcomes == [False] * WAITING_MOST
    assert await passwords.hash(PASSWORD)
