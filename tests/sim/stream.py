"""The control stream without its WebSocket: messages between the agent's real conversation and the real endpoint.

Both sides are the programs' own (``link.control_stream``, ``tasks.stream_talk``; ``server_stub.api.control_stream``).
Between them are two queues, each with its delay. A black hole holds what is in them, a stream is cut at a time that is
drawn, and then what is under way is lost; the death of either side is its end as well.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from starlette.applications import Starlette

from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import Reason, StreamEndedError, UnreachableError
from lattice_agent.link.line import Line, Reply
from lattice_agent.link.verdict import Kind, Verdict
from lattice_agent.tasks.stream_talk import StreamTalk
from lattice_agent.wire.control import TASK_CANCEL, Order
from tests.rigs.server_app import SOURCE, Message
from tests.sim.fate import Seen, draw_fate
from tests.sim.party import NETWORK, PARTY
from tests.sim.scenario import Kind as Trouble
from tests.sim.scenario import NodePlan
from tests.sim.trace import Trace
from tests.sim.watch import Watch

PATH = "/api/agent/control/stream"
LASTS_S = (3.0, 100.0, 100.0, 2_000.0)
QUEUE_MOST = 64
_HOLES = (Trouble.HOLE, Trouble.HOLE_OUT, Trouble.HOLE_BACK)

Talk = Callable[[Any], Awaitable[None]]


@dataclass
class Call:
    """A stream that an agent opens, as the control plane gets it."""

    node: str
    token: str
    status: int = 0
    """Of an answer that is no upgrade."""
    answered: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.into_far, self.at_far = trio.open_memory_channel[Any](QUEUE_MOST)
        self.from_far, self.out_of_far = trio.open_memory_channel[Any](QUEUE_MOST)

    def end(self) -> None:
        """Of everything that is under way."""
        for channel in (self.into_far, self.at_far, self.from_far, self.out_of_far):
            channel.close()
        self.answered.set()


async def serve_call(app: Starlette, call: Call) -> None:
    """The control plane's side: the application as an ASGI server would run it."""
    scope: Message = {
        "type": "websocket",
        "path": PATH,
        "raw_path": PATH.encode(),
        "root_path": "",
        "query_string": f"node_id={call.node}".encode(),
        "headers": [(b"authorization", f"Bearer {call.token}".encode())],
        "client": (SOURCE, 40_000),
        "server": ("control", 80),
        "scheme": "ws",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    first: list[Message] = [{"type": "websocket.connect"}]

    async def receive() -> Message:
        if first:
            return first.pop()
        try:
            said = await call.at_far.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return {"type": "websocket.disconnect", "code": 1006}
        return {"type": "websocket.receive", "text" if isinstance(said, str) else "bytes": said}

    async def send(message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                call.answered.set()
            case "websocket.http.response.start":
                call.status = message["status"]
            case "websocket.send":
                try:
                    await call.from_far.send(message["text"])
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    raise RuntimeError("the other end is gone") from None  # as an ASGI server says it

    try:
        await app(scope, receive, send)
    finally:
        call.end()


class _Socket:
    """What the agent's conversation speaks and hears through."""

    def __init__(self, speak: trio.MemorySendChannel[Any], hear: trio.MemoryReceiveChannel[Any]) -> None:
        self._speak = speak
        self._hear = hear

    async def heard(self) -> None:
        """The answer to the first ping has come with the upgrade."""
        await trio.lowlevel.checkpoint()

    async def send(self, frame: str | bytes) -> None:
        try:
            await self._speak.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise StreamEndedError("the control stream was cut") from None

    async def receive(self) -> str:
        try:
            return str(await self._hear.receive())
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StreamEndedError("the control stream was cut") from None


class Streams:
    """The way of one node's control streams."""

    def __init__(
        self, node: str, token: str, plan: NodePlan, connect: Callable[[Call], None], nursery: trio.Nursery, seed: int
    ) -> None:
        self._node = node
        self._token = token
        self._plan = plan
        self._connect = connect
        self._nursery = nursery
        self._rng = random.Random(f"{seed} streams of {node}")

    async def converse(self, talk: Talk) -> Answer | None:
        """Until ``talk`` returns (None) or the stream ends (LinkError); an answer if there is no upgrade."""
        fate = draw_fate(self._rng, self._plan.troubles, PATH, trio.current_time())
        await trio.sleep(fate.arrives_s or fate.returns_s)
        if fate.seen is Seen.STATUS:
            return Answer(fate.status, {"retry-after": fate.retry_after} if fate.retry_after else {}, b"{}")
        call = Call(self._node, self._token)
        try:
            if fate.seen is not Seen.ANSWER:
                raise ConnectionRefusedError
            self._connect(call)
            await call.answered.wait()
            if call.status:
                return Answer(call.status, {}, b"{}")
            await self._talk_over(call, talk)
        except ConnectionRefusedError:
            raise UnreachableError("the control stream: no connection", reason=Reason.CONNECT) from None
        finally:
            call.end()
        return None

    async def _talk_over(self, call: Call, talk: Talk) -> None:
        speak, said = trio.open_memory_channel[Any](QUEUE_MOST)
        told, hear = trio.open_memory_channel[Any](QUEUE_MOST)
        self._nursery.start_soon(self._pump, said, call.into_far)
        self._nursery.start_soon(self._pump, call.out_of_far, told)
        lasts_s = self._rng.choice(LASTS_S) * self._rng.uniform(0.5, 1.5)
        with speak, hear, trio.move_on_after(lasts_s):
            try:
                await talk(_Socket(speak, hear))
                return
            except* StreamEndedError:
                pass  # one of those who talk has met it; raised anew below, as ``link.websocket`` does
        raise StreamEndedError("the control stream was cut")

    async def _pump(self, source: trio.MemoryReceiveChannel[Any], sink: trio.MemorySendChannel[Any]) -> None:
        PARTY.set(NETWORK)
        with source, sink:
            try:
                async for message in source:
                    await trio.sleep(self._rng.uniform(0.003, 0.05))
                    await trio.sleep_until(max(trio.current_time(), self._hole_ends()))
                    await sink.send(message)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    def _hole_ends(self) -> float:
        now = trio.current_time()
        holes = (one for one in self._plan.troubles if one.kind in _HOLES and one.paths in PATH)
        return max((one.ends_s for one in holes if one.begins_s <= now < one.ends_s), default=now)


class StreamLine(Line):
    """The agent's line, with these streams under it."""

    streams: Streams

    async def converse(self, path: str, talk: Any) -> Reply:
        PARTY.get().stop_if_dead()
        try:
            instead = await self.streams.converse(talk)
        except UnreachableError as error:
            return self._noted(path, error)
        return Reply(Verdict(Kind.OK, "it was open"), None) if instead is None else self._noted(path, instead)


class WatchedTalk(StreamTalk):
    """Tells what the agent has been told."""

    node: str
    trace: Trace
    watch: Watch

    def opened(self) -> None:
        self.trace.note(self.node, "control stream: open")
        super().opened()

    def closed(self) -> None:
        self.trace.note(self.node, "control stream: closed")
        super().closed()

    def order(self, order: Order) -> None:
        self.trace.note(self.node, f"is told {order.type} {order.task_id}".rstrip())
        if order.type == TASK_CANCEL:
            self.watch.cancelled(self.node, order.task_id)
        super().order(order)
