"""When the stream is opened, and when again, in virtual time; a scripted line stands in for the network."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.errors import LinkError
from lattice_agent.link.answer import Answer
from lattice_agent.link.control_stream import PATH, STEADY_S, After, ControlStream, what_follows
from lattice_agent.link.errors import Reason, StreamEndedError, UnreachableError
from lattice_agent.link.features import Features
from lattice_agent.link.line import Reply
from lattice_agent.link.verdict import Kind, Verdict, classify
from lattice_agent.wire.control import Order
from lattice_agent.wire.ext import CONTROL_TASKS

FIRST, CAP = 1.0, 15.0


class ScriptedSocket:
    """Stands for an open WebSocket that lives so long, is heard after a while, and says these things then."""

    def __init__(self, lives_s: float, says: tuple[str | bytes, ...], heard_after_s: float) -> None:
        self._until = trio.current_time() + lives_s
        self._heard_at = trio.current_time() + heard_after_s
        self._says = list(says)
        self.sent: list[str | bytes] = []

    async def heard(self) -> None:
        await trio.sleep_until(min(self._heard_at, self._until))
        if self._until <= self._heard_at:
            raise StreamEndedError("the end")

    async def receive(self) -> str | bytes:
        if self._says:
            return self._says.pop(0)
        await trio.sleep_until(self._until)
        raise StreamEndedError("the end")

    async def send(self, message: str | bytes) -> None:
        self.sent.append(message)


@dataclass
class Open:
    """The stream opens."""

    lives_s: float = float("inf")
    says: tuple[str | bytes, ...] = ()
    heard_after_s: float = 0.0


class ScriptedLine:
    """Each ``converse`` takes the next step of the script; the last one stays."""

    def __init__(self, *script: Open | Answer | LinkError) -> None:
        self._script = list(script)
        self.tries: list[float] = []
        self.sockets: list[ScriptedSocket] = []
        self.ended: list[float] = []

    async def converse(self, path: str, talk: Callable[[Any], Awaitable[None]]) -> Reply:
        assert path == PATH
        self.tries.append(trio.current_time())
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        try:
            if not isinstance(step, Open):
                return Reply(classify(step), step if isinstance(step, Answer) else None)
            self.sockets.append(ScriptedSocket(step.lives_s, step.says, step.heard_after_s))
            error: LinkError | None = None
            try:
                await talk(self.sockets[-1])
            except* LinkError:
                error = StreamEndedError("the end")
            return Reply(classify(error) if error else Verdict(Kind.OK, "open"), None)
        finally:
            self.ended.append(trio.current_time())

    def waits(self) -> list[float]:
        return [later - end for end, later in zip(self.ended, self.tries[1:], strict=False)]


class Talk:
    """A conversation that is watched."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.say, self._to_send = trio.open_memory_channel[str | bytes](10)

    def opened(self) -> None:
        self.events.append("opened")

    def closed(self) -> None:
        self.events.append("closed")

    def order(self, order: Order) -> None:
        self.events.append(order)

    async def next_frame(self) -> str | bytes:
        return await self._to_send.receive()


@asynccontextmanager
async def served(line: ScriptedLine, *, announced: bool = True) -> AsyncIterator[tuple[ControlStream, Features, Talk]]:
    features, talk = Features(), Talk()
    features.announced([CONTROL_TASKS] if announced else [])
    stream = ControlStream(line, features, talk, rng=random.Random(1))  # type: ignore[arg-type]  # a scripted one
    async with trio.open_nursery() as nursery:
        await nursery.start(stream.run)
        yield stream, features, talk
        nursery.cancel_scope.cancel()


async def test_no_stream_before_it_is_announced(autojump_clock: MockClock) -> None:
    line = ScriptedLine(Open())
    async with served(line, announced=False) as (stream, features, _):
        await trio.sleep(3600)
        assert line.tries == []
        features.announced([CONTROL_TASKS])
        await trio.sleep(1)
        assert line.tries == [3600]
        assert stream.connected


async def test_a_stream_that_is_announced_no_more_is_left(autojump_clock: MockClock) -> None:
    line = ScriptedLine(Open())
    async with served(line) as (stream, features, talk):
        await trio.sleep(10)
        features.announced([])
        await trio.sleep(10)
        assert (stream.connected, talk.events) == (False, ["opened", "closed"])
        assert line.ended == [10]
        features.announced([CONTROL_TASKS])
        await trio.sleep(0.1)
        assert stream.connected


async def test_orders_come_in_and_frames_go_out(autojump_clock: MockClock) -> None:
    line = ScriptedLine(Open(says=('{"type":"drain","on":true}', b'{"type":"task.ready"}')))
    async with served(line) as (_, _, talk):
        talk.say.send_nowait("text")
        talk.say.send_nowait(b"binary")
        await trio.sleep(1)
        assert talk.events == ["opened", Order(type="drain", on=True), Order(type="task.ready")]
        assert line.sockets[0].sent == ["text", b"binary"]


async def test_a_stream_on_which_nothing_was_heard_counts_for_nothing(autojump_clock: MockClock) -> None:
    """A middle box may answer the upgrade and swallow the frames: polls must not become rare for that."""
    line = ScriptedLine(Open(lives_s=45, heard_after_s=float("inf")), Open(heard_after_s=2))
    async with served(line) as (stream, _, talk):
        await trio.sleep(44)
        assert (stream.connected, talk.events) == (False, [])
        talk.say.send_nowait("kept until somebody listens")
        await trio.sleep_until(45 + FIRST)
        assert (len(line.tries), talk.events) == (2, [])
        await trio.sleep(2)
        assert (stream.connected, talk.events) == (True, ["opened"])
        assert [socket.sent for socket in line.sockets] == [[], ["kept until somebody listens"]]


async def test_what_is_no_order_is_logged_once_and_ignored(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    bad = ("no JSON", "[]", '{"type":7}', '{"type":"output.from","position":-1}', b"\xff\x00")
    line = ScriptedLine(Open(says=(*bad, '{"type":"task.ready"}')))
    async with served(line) as (_, _, talk):
        await trio.sleep(1)
        assert talk.events == ["opened", Order(type="task.ready")]
    assert sum("a frame is ignored" in record.message for record in caplog.records if record.levelname != "DEBUG") == 1


async def test_reconnects_come_soon_and_then_more_slowly(autojump_clock: MockClock) -> None:
    line = ScriptedLine(Open(lives_s=5), UnreachableError("refused", reason=Reason.CONNECT))
    async with served(line):
        await trio.sleep(600)
    waits = line.waits()
    assert waits[0] <= FIRST
    assert max(waits) <= CAP
    assert max(waits) > CAP / 2
    assert len({round(wait, 3) for wait in waits[-10:]}) > 5  # jittered


async def test_a_stream_that_lived_long_is_opened_soon_again(autojump_clock: MockClock) -> None:
    down = [UnreachableError("refused", reason=Reason.CONNECT)] * 8
    line = ScriptedLine(*down, Open(lives_s=STEADY_S + 1), *down)
    async with served(line):
        await trio.sleep(300)
    assert line.waits()[8] <= FIRST


async def test_a_stream_that_dies_at_once_is_not_opened_again_and_again(autojump_clock: MockClock) -> None:
    line = ScriptedLine(Open(lives_s=0.01))
    async with served(line):
        await trio.sleep(600)
    assert len(line.tries) < 120


@pytest.mark.parametrize("status", [404, 405])
async def test_a_server_without_the_stream_is_asked_once(autojump_clock: MockClock, status: int) -> None:
    line = ScriptedLine(Answer(status, {}, b""))
    async with served(line) as (_, features, _):
        await trio.sleep(7200)
        assert len(line.tries) == 1
        assert not features.has(CONTROL_TASKS)
        features.announced([])
        features.announced([CONTROL_TASKS])  # another version, or another server
        await trio.sleep(10)
        assert len(line.tries) == 2


@pytest.mark.parametrize(
    ("answer", "most_in_an_hour", "first_s"),
    [
        (Answer(401, {}, b""), 15, 30.0),  # needs a human, and costs the server a slow hash
        (Answer(403, {}, b""), 20, 15.0),
        (Answer(426, {}, b""), 20, 15.0),
        (Answer(400, {}, b""), 20, 15.0),  # a proxy that takes the Upgrade away
        (Answer(429, {"retry-after": "120"}, b""), 31, 120.0),
        (Answer(503, {}, b""), 1000, 0.5),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
async def test_refusals_are_given_the_time_they_need(
    autojump_clock: MockClock, answer: Answer, most_in_an_hour: int, first_s: float
) -> None:
    line = ScriptedLine(answer)
    async with served(line) as (stream, features, _):
        await trio.sleep(3600)
        assert not stream.connected
        assert features.has(CONTROL_TASKS)
    assert 2 <= len(line.tries) <= most_in_an_hour
    assert line.waits()[0] >= first_s


def test_what_follows_an_answer() -> None:
    assert what_follows(Verdict(Kind.REFUSED, ""), 404) is After.WITHDRAW
    assert what_follows(Verdict(Kind.REFUSED, ""), 200) is After.REFUSED
    assert what_follows(Verdict(Kind.UNREACHABLE, ""), None) is After.TROUBLE
    assert what_follows(Verdict(Kind.OK, ""), None) is After.TROUBLE
