"""What a soak is made of: its rules, its wire, its samples."""

import os
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.rigs.transport import Authority
from tests.soak.endings import HEADING, Deaths, counted, faults_of, faults_of_starts
from tests.soak.faults import DYING_SHARE, Fault, plan_faults
from tests.soak.kinds import KINDS, Kind, says_its_id, script
from tests.soak.samples import SampleFile, database_numbers, process_numbers, read_samples
from tests.soak.wire import WRONG_ANSWERS, Wire, open_wire, wrong_answers

LIMIT_S = 10
BY_NAME = {kind.name: kind for kind in KINDS}


# --- the rules -------------------------------------------------------------------------------------------------------


def task(kind: Kind, state: str = "reported", results: int = 1, **changes: str) -> dict[str, Any]:
    """An ended task of one node as operators see it."""
    ending = {"node_id": "first", "outcome": kind.outcome, "text": "a text", **changes}
    result = ending | {"stdout": "task_1\n" if says_its_id(kind) else "x" * (kind.bytes_out or 0)} | changes
    return {"id": "task_1", "targets": [{**ending, "state": state}], "results": [result] * results}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_ends_as_it_must_is_no_fault(kind: Kind) -> None:
    assert faults_of(kind, task(kind), lambda _: False) == []


@pytest.mark.parametrize(
    ("name", "changes", "fault"),
    [
        ("sh", {"outcome": "failed"}, "first: failed, not succeeded: a text"),
        ("sh", {"outcome": "interrupted"}, "first: interrupted, not succeeded: a text"),
        ("sh", {"results": 2}, "2 results of first, which is reported"),
        ("sh", {"results": 0}, "0 results of first, which is reported"),
        ("sh", {"state": "lost", "outcome": "lost", "results": 0}, "first: lost, not succeeded: a text"),
        ("sh", {"stdout": "task_2\n"}, "first: the output is of something else: 'task_2\\n'"),
        ("beyond the cap", {"stdout": "x" * 65_535}, "first: 65535 bytes, not 65536"),
        ("refused", {"outcome": "succeeded"}, "first: succeeded, not refused: a text"),
    ],
)
def test_what_does_not_is_one(name: str, changes: dict[str, Any], fault: str) -> None:
    kind = BY_NAME[name]
    assert faults_of(kind, task(kind, **changes), lambda _: False) == [fault]


def test_only_a_death_on_its_node_while_it_was_open_excuses_a_task() -> None:
    kind, deaths = BY_NAME["sh"], Deaths()
    deaths.note("first", 10.0, 12.0)
    interrupted = task(kind, outcome="interrupted")
    for since, until, excused in ((0, 9, False), (0, 10, True), (11, 20, True), (5, 30, True), (13, 20, False)):
        found = faults_of(kind, interrupted, lambda node, a=since, b=until: deaths.within(node, a, b))
        assert (found == []) is excused
    assert not deaths.within("second", 0, 99)
    assert faults_of(kind, task(kind, outcome="failed"), lambda _: True), "a death explains no wrong exit code"


def test_starts_are_held_against_outcomes(tmp_path: Path) -> None:
    marks, endings = tmp_path / "marks", tmp_path / "endings.csv"
    marks.write_text("a first\na second\nb first\nb first\nd first\ne first\n")
    told = ("a,first,sh,succeeded", "a,second,sh,succeeded", "b,first,sh,succeeded", "c,first,sh,succeeded",
            "d,first,sh,refused", "e,first,sh,interrupted", "f,first,sh,refused")  # fmt: skip
    endings.write_text("\n".join([",".join(HEADING), *(f"1,{row},0.1" for row in told)]) + "\n")
    assert faults_of_starts(marks, endings) == [
        "b first started 2 times",
        "b succeeded on first after 2 starts",
        "c succeeded on first after 0 starts",
        "d refused on first, but it started",
    ]
    assert counted(endings)["sh"] == {"succeeded": 4, "refused": 2, "interrupted": 1}


def test_scripts_mark_their_start_first_of_all_and_ask_for_their_level() -> None:
    for kind in KINDS:
        text = script(kind, Path("/srv/it's/marks")).splitlines()
        assert ("level=" in text[0]) is bool(kind.level)
        assert "marks" in "".join(text[:5])
        if kind.interpreter == "python3":
            compile("\n".join(text), kind.name, "exec")


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [120.0, 1200.0, 8 * 3600.0])
def test_a_plan_has_every_fault_and_spares_who_is_to_live(seconds: float) -> None:
    plan = plan_faults(random.Random(4), seconds)
    assert plan == plan_faults(random.Random(4), seconds)
    assert plan != plan_faults(random.Random(5), seconds)
    if seconds >= 1200:
        assert {one.fault for one in plan} == set(Fault)
    late = [one for one in plan if one.at_s > seconds * DYING_SHARE]
    assert not [one for one in late if one.node is None], "the control plane dies late"
    killed = {Fault.AGENT_KILLED, Fault.SPAWNER_KILLED}
    assert {one.node for one in late if one.fault in killed} == {1}
    assert all(one.node == 1 for one in plan if one.fault is Fault.AGENT_KILLED)
    ends = [one.at_s + one.lasts_s for one in plan]
    assert all(end <= later.at_s for end, later in zip(ends, plan[1:], strict=False)), "one at a time"


# --- the wire --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def wired() -> AsyncIterator[Wire]:
    """A wire to a server that sends back what it is sent."""

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, echo, [listener])
            async with open_wire(listener.socket.getsockname()[1]) as wire:
                yield wire
            nursery.cancel_scope.cancel()


async def said(stream: trio.abc.Stream, words: bytes) -> bytes:
    await stream.send_all(words)
    return bytes(await stream.receive_some(100))


async def test_a_wire_passes_bytes_and_a_cut_ends_what_is_open() -> None:
    async with wired() as wire, await trio.open_tcp_stream("127.0.0.1", wire.port) as stream:
        assert await said(stream, b"one") == b"one"
        wire.cut()
        with suppress(trio.BrokenResourceError):  # a reset says the same
            assert await stream.receive_some(1) == b""
        async with await trio.open_tcp_stream("127.0.0.1", wire.port) as another:
            assert await said(another, b"two") == b"two"


async def test_a_black_hole_delivers_afterwards() -> None:
    async with wired() as wire, await trio.open_tcp_stream("127.0.0.1", wire.port) as stream:
        wire.hold()
        await stream.send_all(b"swallowed")
        with trio.move_on_after(0.05) as silence:
            await stream.receive_some(100)
        assert silence.cancelled_caught
        wire.release()
        assert await stream.receive_some(100) == b"swallowed"


async def test_a_slow_wire_takes_its_time() -> None:
    async with wired() as wire, await trio.open_tcp_stream("127.0.0.1", wire.port) as stream:
        wire.slow(1000.0)
        began = trio.current_time()
        assert await said(stream, b"x" * 50) == b"x" * 50
        assert trio.current_time() - began >= 0.1, "each way"


async def test_a_diverted_wire_leads_to_wrong_answers_over_good_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    identity = authority.issue("control", alternatives="IP:127.0.0.1")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    heard: set[bytes] = set()
    async with wired() as wire, wrong_answers(identity.server_context(), random.Random(1)) as port:
        wire.divert(port)
        for _ in range(30):
            stream = await trio.open_ssl_over_tcp_stream(
                "127.0.0.1", wire.port, ssl_context=context, https_compatible=True
            )
            async with stream:
                heard.add(await said(stream, b"GET /api/agent/tasks HTTP/1.1\r\n\r\n"))
        wire.release()
        async with await trio.open_tcp_stream("127.0.0.1", wire.port) as plain:
            assert await said(plain, b"back") == b"back"
    assert heard <= set(WRONG_ANSWERS)
    assert len(heard) > 4
    assert not any(
        answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")) for answer in WRONG_ANSWERS if b"429" not in answer
    )


# --- samples ---------------------------------------------------------------------------------------------------------


def test_samples_come_back_by_who_what_and_life(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    with SampleFile(path) as file:
        file.add("agent", 1, {"fds": 3, "pss_kib": 40_000})
        file.add("agent", 2, {"fds": 4})
        file.add("server", 1, {})
    found = read_samples(path)
    assert [value for _, value in found["agent", "fds"][1]] == [3]
    assert [value for _, value in found["agent", "fds"][2]] == [4]
    assert set(found) == {("agent", "fds"), ("agent", "pss_kib")}


def test_a_process_is_seen_as_it_is() -> None:
    before = process_numbers(os.getpid())
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    after = process_numbers(os.getpid())
    for fd in held:
        os.close(fd)
    assert after["fds"] == before["fds"] + 5
    assert 0 < after["heap_kib"] <= after["pss_kib"] <= after["rss_kib"]
    assert after["threads"] >= 1
    assert process_numbers(None) == {}
    assert process_numbers(2**22 - 1) == {}


def test_a_database_that_is_not_there_yet_has_no_rows(tmp_path: Path) -> None:
    numbers = database_numbers(tmp_path / "none.db", {"rows": "SELECT count(*) FROM t"})
    assert numbers == {"file_bytes": 0, "wal_bytes": 0}
