"""Group commit: one transaction for all who come together, each with its own answer."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from lattice_agent.errors import StateError
from lattice_agent.state.commit import GroupCommit, call_directly
from lattice_agent.state.db import StateDirectory

T = TypeVar("T")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    directory = StateDirectory(tmp_path)
    directory.connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
    yield directory
    directory.close()


def insert(state: StateDirectory, value: int) -> Callable[[], int]:
    def operation() -> int:
        state.connection.execute("INSERT INTO t VALUES (?)", (value,))
        return value

    return operation


def stored(state: StateDirectory) -> list[int]:
    return [x for (x,) in state.connection.execute("SELECT x FROM t ORDER BY x")]


async def test_callers_that_come_together_share_a_transaction(state: StateDirectory) -> None:
    begins = []
    state.connection.set_trace_callback(lambda sql: begins.append(sql) if sql.startswith("BEGIN") else None)
    commit = GroupCommit(state.connection, state.path, call_directly)
    answers = []

    async def one(value: int) -> None:
        answers.append(await commit.do(insert(state, value)))

    async with trio.open_nursery() as nursery:
        for value in range(20):
            nursery.start_soon(one, value)
    assert sorted(answers) == stored(state) == list(range(20))
    assert len(begins) <= 3


async def test_one_that_fails_does_not_undo_its_neighbours(state: StateDirectory) -> None:
    commit = GroupCommit(state.connection, state.path, call_directly)
    failures = []

    def bad() -> None:
        insert(state, 100)()
        raise LookupError("no such row")

    async def failing() -> None:
        with pytest.raises(LookupError):
            await commit.do(bad)
        failures.append(1)

    async def good(value: int) -> None:
        await commit.do(insert(state, value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(good, 1)
        nursery.start_soon(failing)
        nursery.start_soon(good, 2)
    assert failures == [1]
    assert stored(state) == [1, 2]


async def test_a_failed_commit_fails_everybody_and_the_next_one_works(state: StateDirectory) -> None:
    commit = GroupCommit(state.connection, state.path, call_directly)
    await commit.do(insert(state, 1))
    errors: list[str] = []
    state.connection.execute("PRAGMA query_only = 1")
    await all_fail(commit, state, [2, 3, 4], errors)
    state.connection.execute("PRAGMA query_only = 0")
    assert len(errors) == 3
    assert all(str(state.path) in error for error in errors)
    await commit.do(insert(state, 5))
    assert stored(state) == [1, 5]


async def test_no_thread_to_be_had_fails_everybody_who_waited(state: StateDirectory) -> None:
    """A follower whose work was never run must not hear that it is durable."""

    async def no_thread(fn: Callable[..., T], *args: Any) -> T:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    errors: list[str] = []
    await all_fail(GroupCommit(state.connection, state.path, no_thread), state, [1, 2, 3], errors)
    assert len(errors) == 3
    assert stored(state) == []


async def test_a_transaction_left_open_is_rolled_back_first(state: StateDirectory) -> None:
    commit = GroupCommit(state.connection, state.path, call_directly)
    state.connection.execute("BEGIN")
    insert(state, 1)()
    await commit.do(insert(state, 2))
    assert stored(state) == [2]


async def all_fail(commit: GroupCommit, state: StateDirectory, values: list[int], errors: list[str]) -> None:
    async def one(value: int) -> None:
        try:
            await commit.do(insert(state, value))
        except StateError as error:
            errors.append(str(error))

    async with trio.open_nursery() as nursery:
        for value in values:
            nursery.start_soon(one, value)


async def test_is_durable_when_it_returns_and_finishes_when_cancelled(state: StateDirectory) -> None:
    started = trio.Event()

    async def slow(fn: Callable[..., T], *args: Any) -> T:
        started.set()
        await trio.lowlevel.checkpoint()
        return fn(*args)

    commit = GroupCommit(state.connection, state.path, slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit.do, insert(state, 7))
        await started.wait()
        nursery.cancel_scope.cancel()
    other = sqlite3.connect(state.path)
    assert other.execute("SELECT x FROM t").fetchall() == [(7,)]
    other.close()


async def test_waits_for_a_thread_without_blocking_the_loop(state: StateDirectory) -> None:
    in_thread, ticked = trio.Event(), trio.Event()

    def blocks() -> int:
        trio.from_thread.run_sync(in_thread.set)
        trio.from_thread.run(ticked.wait)
        return 1

    async def run_sync(fn: Callable[..., T], *args: Any) -> T:
        return await trio.to_thread.run_sync(fn, *args)

    commit = GroupCommit(state.connection, state.path, run_sync)

    async def ticker() -> None:
        await in_thread.wait()
        ticked.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker)
            assert await commit.do(blocks) == 1


_: Callable[..., Awaitable[Any]] = call_directly


async def test_damage_that_an_operation_meets_is_told_without_a_row_s_text(state: StateDirectory) -> None:
    """Found by the power-cut model: a text that is no UTF-8, and a page that does not fit, with the agent running."""
    commit = GroupCommit(state.connection, state.path, call_directly)
    state.connection.execute("CREATE TABLE output (text TEXT)")
    state.connection.execute("INSERT INTO output VALUES (CAST(x'7365637265742080' AS TEXT))")

    def malformed() -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    for operation in (lambda: state.connection.execute("SELECT text FROM output").fetchall(), malformed):
        with pytest.raises(StateError, match=r"state\.db: ") as caught:
            await commit.do(operation)
        assert "secret" not in str(caught.value)
        assert "move the file aside" in caught.value.hint()
    await commit.do(insert(state, 1))
    assert stored(state) == [1]
