"""The ledger's documents in a real state.db: what a death at any moment leaves, and what cannot be read."""

import logging
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from lattice_agent.errors import StateError, UsageSourceError
from lattice_agent.state.commit import GroupCommit, call_directly
from lattice_agent.state.db import SCHEMA_VERSION, StateDirectory
from lattice_agent.state.usage_documents import UsageDocuments
from lattice_agent.usage import billing as base
from lattice_agent.usage.books import SEQ_BLOCK, UsageBooks
from lattice_agent.usage.ledger import Moment
from lattice_agent.usage.ledger_account import LedgerAccount
from lattice_agent.usage.normalise import ABSURD_BYTES, Counters


class FailingDocuments(UsageDocuments):
    """Fails before, or right after, a write."""

    fails = ""

    async def put(self, documents: Mapping[str, bytes | None]) -> None:
        if self.fails == "before":
            raise StateError("disk full")
        await super().put(documents)
        if self.fails == "after":
            raise StateError("died")


@asynccontextmanager
async def life(place: Path, node_id: str = "node-1") -> AsyncIterator[tuple[UsageBooks, FailingDocuments]]:
    """The books of one life of the agent."""
    with closing(StateDirectory(place)) as state:
        commit = GroupCommit(state.connection, state.path, call_directly)
        documents = FailingDocuments(state.connection, commit, "http://control", node_id)
        books = UsageBooks(documents)
        await books.load()
        yield books, documents


def at(second: float) -> Moment:
    return Moment("boot-1", second)


def seen(count: int, uptime_s: int) -> Counters:
    return Counters({"ann": count}, core_uptime_s=uptime_s)


def pending(total: int = 7) -> base.Billing:
    ready = base.zero_accepted(base.Billing())
    return base.with_pending(ready, base.Part({"ann": total}, is_all=True), '{"ü": 1}'.encode())


async def test_everything_survives(tmp_path: Path) -> None:
    account = LedgerAccount({"ann": 1}, {"ann": 2}, is_used=True)
    async with life(tmp_path) as (books, _):
        await books.take("one", seen(100, 50), at(10))
        await books.take("one", seen(130, 52), at(12))
        await books.take("two", seen(5, 1), at(12))
        await books.set_standing(base.unanswered(pending()), account)
        before = books.standing
    async with life(tmp_path) as (books, _):
        assert books.totals() == {"ann": 30}
        assert books.sources == ("one", "two")
        assert books.standing == before
        assert books.standing.account == account


@pytest.mark.parametrize(("fails", "on_disk"), [("before", 0), ("after", 30)])
async def test_a_reading_that_could_not_be_entered(tmp_path: Path, fails: str, on_disk: int) -> None:
    async with life(tmp_path) as (books, documents):
        await books.take("one", seen(100, 50), at(10))
        documents.fails = fails
        with pytest.raises(StateError):
            await books.take("one", seen(130, 52), at(12))
        assert books.totals() == {"ann": 0}  # nothing shows that may not be on disk
    async with life(tmp_path) as (books, _):
        assert books.totals() == {"ann": on_disk}
        await books.take("one", seen(130, 54), at(14))
        assert books.totals() == {"ann": 30}


@pytest.mark.parametrize("fails", ["before", "after"])
async def test_a_standing_that_could_not_be_entered_does_not_show(tmp_path: Path, fails: str) -> None:
    async with life(tmp_path) as (books, documents):
        before = books.standing
        documents.fails = fails
        with pytest.raises(StateError):
            await books.set_standing(pending())
        assert books.standing == before


async def test_a_report_that_an_earlier_life_left_may_have_arrived(tmp_path: Path) -> None:
    async with life(tmp_path) as (books, _):
        await books.set_standing(pending(7))
    async with life(tmp_path) as (books, _):
        refused = base.refused(books.standing.billing, {"ann": 7}, no_profile=False)
        assert refused.billed == {"ann": 7}


async def test_a_report_whose_answer_could_not_be_entered_may_have_arrived(tmp_path: Path) -> None:
    async with life(tmp_path) as (books, _):
        await books.set_standing(pending(7))
        assert base.refused(books.standing.billing, {"ann": 7}, no_profile=False).billed == {}
        books.forget_fate()
        assert base.refused(books.standing.billing, {"ann": 7}, no_profile=False).billed == {"ann": 7}


async def test_a_reading_that_moves_nothing_is_not_written_and_a_restart_is_still_proven(tmp_path: Path) -> None:
    async with life(tmp_path) as (books, documents):
        await books.take("one", seen(100, 50), at(10))
        documents.fails = "before"
        await books.take("one", seen(100, 90), at(50))
    async with life(tmp_path) as (books, _):
        await books.take("one", seen(120, 5), at(70))
        assert books.totals() == {"ann": 120}


CHANGES = {
    "an uptime that was not known": (Counters({"ann": 100}), seen(100, 50)),
    "an uptime that is not known any more": (seen(100, 50), Counters({"ann": 100})),
    "another run": (seen(0, 50), seen(0, 1)),
    "a counter that was reset": (seen(100, 50), seen(0, 52)),
    "a new id": (Counters({}, core_uptime_s=50), seen(0, 52)),
}


@pytest.mark.parametrize(("first", "second"), CHANGES.values(), ids=CHANGES)
async def test_what_a_later_proof_needs_is_written(tmp_path: Path, first: Counters, second: Counters) -> None:
    async with life(tmp_path) as (books, documents):
        await books.take("one", first, at(10))
        documents.fails = "before"
        with pytest.raises(StateError):
            await books.take("one", second, at(12))


async def test_a_reading_that_cannot_be_true_changes_nothing(tmp_path: Path) -> None:
    async with life(tmp_path) as (books, _):
        await books.take("one", seen(0, 50), at(10))
        await books.take("one", seen(ABSURD_BYTES, 52), at(12))
        await books.take("one", seen(0, 54), at(14))
        with pytest.raises(UsageSourceError, match="above 2"):
            await books.take("one", seen(9, 56), at(16))
        assert books.totals() == {"ann": ABSURD_BYTES}


async def test_numbers_grow_over_lives(tmp_path: Path) -> None:
    async with life(tmp_path) as (books, _):
        given = [await books.next_seq() for _ in range(SEQ_BLOCK + 2)]
        assert given == list(range(1, SEQ_BLOCK + 3))
    async with life(tmp_path) as (books, _):
        assert await books.next_seq() == 2 * SEQ_BLOCK + 1
        assert books.standing.seq_limit == 3 * SEQ_BLOCK


DAMAGE = {
    "a book is no JSON": ("UPDATE usage_document SET document = x'00' WHERE name = 'source:one'", "Invalid JSON"),
    "a book is a list": (
        "UPDATE usage_document SET document = CAST('[]' AS BLOB) WHERE name = 'source:one'",
        "an object",
    ),
    "the standing is cut": ("UPDATE usage_document SET document = CAST('{' AS BLOB) WHERE name = 'standing'", "EOF"),
    "the standing is gone": ("DELETE FROM usage_document WHERE name = 'standing'", "document 'standing' is missing"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
async def test_what_cannot_be_read_begins_all_of_it_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, reason: str
) -> None:
    async with life(tmp_path) as (books, _):
        for name in ("one", "two"):
            await books.take(name, seen(100, 50), at(10))
            await books.take(name, seen(130, 52), at(12))
        old_id = books.standing.ledger_id
    execute(tmp_path, damage)
    for _ in range(2):  # and once only
        async with life(tmp_path) as (books, _):
            assert (books.totals(), books.sources, books.standing.billing) == ({}, (), base.Billing())
            assert books.standing.ledger_id != old_id
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert reason in errors[0]


def execute(place: Path, statement: str) -> None:
    with closing(sqlite3.connect(place / "state.db")) as database, database:
        database.execute(statement)


async def test_nodes_have_their_own(tmp_path: Path) -> None:
    async with life(tmp_path) as (books, _):
        await books.take("one", seen(100, 50), at(10))
        first = books.standing.ledger_id
    async with life(tmp_path, "node-2") as (books, _):
        assert books.sources == ()
        assert books.standing.ledger_id != first
    async with life(tmp_path) as (books, _):
        assert (books.sources, books.standing.ledger_id) == (("one",), first)


KILLED = """
import os, sys, pathlib, trio
from lattice_agent.state.commit import GroupCommit, call_directly
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.usage_documents import UsageDocuments

async def main():
    state = StateDirectory(pathlib.Path(sys.argv[1]))
    commit = GroupCommit(state.connection, state.path, call_directly)
    documents = UsageDocuments(state.connection, commit, "http://control", "node-1")
    await documents.put({"a": b"1", "b": b"1"})
    if sys.argv[2] == "between":
        def die(statement):
            if statement.startswith("INSERT") and "'b'" in statement:
                os.kill(os.getpid(), 9)
        state.connection.set_trace_callback(die)
    await documents.put({"a": b"2", "b": b"2", "c": None})
    os.kill(os.getpid(), 9)

trio.run(main)
"""


@pytest.mark.parametrize(("moment", "left"), [("between", b"1"), ("after", b"2")])
async def test_a_killed_agent_has_written_all_or_nothing(tmp_path: Path, moment: str, left: bytes) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    with trio.fail_after(30):
        ended = await trio.run_process(command, check=False)
    assert ended.returncode == -9
    with closing(StateDirectory(tmp_path)) as state:
        commit = GroupCommit(state.connection, state.path, call_directly)
        documents = UsageDocuments(state.connection, commit, "http://control", "node-1")
        assert await documents.load() == {"a": left, "b": left}


async def test_a_document_is_deleted(tmp_path: Path) -> None:
    async with life(tmp_path) as (_, documents):
        await documents.put({"a": b"1", "b": b""})
        await documents.put({"a": None})
        assert {"b"} == set(await documents.load()) - {"standing"}


async def test_a_state_of_schema_1_keeps_its_tasks(tmp_path: Path) -> None:
    StateDirectory(tmp_path).close()
    execute(tmp_path, "DROP TABLE usage_document")
    execute(tmp_path, "PRAGMA user_version = 1")
    columns = (
        "'http://control', 'node-1', 'task-1', 'waiting', 'lease-1', 'sh', 5, 100, 'boot-1', 1.5, 1, 0, 0, 'ls', NULL"
    )
    execute(tmp_path, f"INSERT INTO task VALUES ({columns})")
    execute(tmp_path, "INSERT INTO counter VALUES ('order', 41)")
    async with life(tmp_path) as (books, _):
        await books.take("one", seen(100, 50), at(10))
    with closing(StateDirectory(tmp_path)) as state:
        assert state.connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert state.connection.execute("SELECT task_id, script FROM task").fetchall() == [("task-1", "ls")]
        assert state.connection.execute("SELECT value FROM counter").fetchall() == [(41,)]
    async with life(tmp_path) as (books, _):
        assert books.sources == ("one",)
