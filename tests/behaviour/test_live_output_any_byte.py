"""Below the cap, what operators are shown equals what the script wrote, though the wire is cut at any byte.

Between the agent's sender and the server's logs there is a real WebSocket, whose bytes a link carries in pieces of any
size: it loses what is under way when it is cut, in the middle of a frame too, and never changes their order. The server
may lose its memory or let the log go, and give the run another lease. Operators come and go at any moment and in any
number; each goes on from the last id that it was given, as an ``EventSource`` does, also one that was left in the
middle of what it was being told. (An agent that loses its memory has lost the run: its result says so.)
"""

import base64
import json
from types import SimpleNamespace
from typing import Any

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Message, TextMessage

from lattice_agent.link.features import Features
from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.wire.base import decode, encode
from lattice_agent.wire.control import STREAMS, Order, Running
from lattice_agent.wire.ext import CONTROL_TASKS
from server_stub.api import control_stream
from server_stub.api.agent_streams import AgentStream
from server_stub.api.live_output import LiveOutputs
from server_stub.api.operator_streams import _Viewer
from server_stub.config import Limits
from server_stub.store.records import Credential
from tests.rigs.extent import extent

LIMIT = 262_144
NODE, TASK = "n", "t"
QUIET_S = 10.0
"""Virtual: longer than a sender with anything to say waits."""


class LeftError(Exception):
    """The operator's connection has ended."""


class Operator:
    """What one page shows. ``patience``: events that still reach it before its connection ends."""

    def __init__(self) -> None:
        self.shown = dict.fromkeys(STREAMS, b"")
        self.patience = float("inf")
        self._last_id = 0
        self._viewer: _Viewer | None = None

    async def look(self, live: LiveOutputs) -> None:
        """Connects if it is not connected, and takes what there is."""
        if self._viewer is None:
            self._viewer = _Viewer(SimpleNamespace(live=live), TASK, NODE, self._last_id)  # type: ignore[arg-type]
        try:
            await self._viewer._catch_up(self._take)
        except LeftError:
            self.leave()

    def leave(self) -> None:
        self._viewer, self.patience = None, float("inf")

    async def _take(self, events: bytes) -> None:
        for block in events.decode().removesuffix("\n\n").split("\n\n"):
            if self.patience <= 0:
                raise LeftError
            self.patience -= 1
            self._show(dict(line.split(": ", 1) for line in block.split("\n")))

    def _show(self, fields: dict[str, str]) -> None:
        self._last_id = int(fields.get("id", self._last_id))
        if fields["event"] == "reset":
            self.shown = dict.fromkeys(STREAMS, b"")
            return
        data = json.loads(fields["data"])
        assert len(self.shown[data["stream"]]) == data["offset"]
        self.shown[data["stream"]] += base64.b64decode(data["data"])


class Way:
    """One end of a WebSocket's direction to the other: bytes that have left and have not arrived."""

    def __init__(self, sender: Connection, receiver: Connection) -> None:
        self._sender, self._receiver = sender, receiver
        self._under_way = bytearray()
        self._parts: list[Any] = []

    def say(self, message: str | bytes) -> None:
        event: Message[Any] = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        self._under_way += self._sender.send(event)

    def arrive(self, size: int) -> list[str | bytes]:
        """The messages that so many more bytes complete."""
        self._receiver.receive_data(bytes(self._under_way[:size]))
        del self._under_way[:size]
        whole = []
        for event in self._receiver.events():
            assert isinstance(event, Message)
            self._parts.append(event.data)
            if event.message_finished:
                whole.append("".join(self._parts) if isinstance(event, TextMessage) else b"".join(self._parts))
                self._parts = []
        return whole

    @property
    def is_empty(self) -> bool:
        return not self._under_way


class World:
    """One run, from the script to the pages."""

    def __init__(self) -> None:
        features = Features()
        features.announced([CONTROL_TASKS])
        self._lease = "lease 0"
        self._sender = LiveSender(features)
        self._write = self._sender.begin(TASK, self._lease)
        self._live = LiveOutputs(Limits())
        self._stream: AgentStream | None = None
        self.written = dict.fromkeys(STREAMS, b"")
        self.operators = [Operator()]

    async def do(self, what: str, *how: Any) -> None:
        match what:
            case "write":
                self.write(*how)
            case "say":
                await self.say(1 + how[0] % 6)
            case "flow":
                await self.flow()
            case "to server":
                self.to_server(*how)
            case "to agent":
                self.to_agent(*how)
            case "cut":
                self.cut()
            case "server forgets":
                self.forget()
            case "let go":
                self._live.ended(TASK, NODE)
            case "lease":
                self.lease_anew()
            case "look" | "look and leave":
                await self._look(*how)
            case "another":
                self.operators.append(Operator())

    def write(self, stream: str, size: int) -> None:
        """Every byte says where it belongs."""
        begin = len(self.written[stream])
        data = bytes(place % 251 for place in range(begin, begin + size))
        self.written[stream] += data
        self._write(stream, data)

    async def _look(self, number: int, patience: float = float("inf")) -> None:
        """Leaves after so many events; also if there are none."""
        operator = self.operators[number % len(self.operators)]
        operator.patience = patience
        await operator.look(self._live)
        if patience < float("inf"):
            operator.leave()

    async def say(self, frames: int) -> bool:
        """So many frames go out, or fewer if there is no more to say: then False."""
        self._connect()
        for _ in range(frames):
            with trio.move_on_after(QUIET_S) as waiting:
                frame = await self._sender.next_frame()
            if waiting.cancelled_caught:
                return False
            self._out.say(frame)
        return True

    def to_server(self, size: int) -> None:
        if self._stream is None:
            return
        plane: Any = SimpleNamespace(live=self._live)
        for message in self._out.arrive(size):
            if isinstance(message, bytes):
                control_stream._take_chunk(plane, self._stream, message)
            else:
                self._take_running(decode(Running, message.encode()))
        while self._stream._orders:
            self._back.say(encode(self._stream._orders.popleft()).decode())

    def to_agent(self, size: int) -> None:
        if self._stream is None:
            return
        for message in self._back.arrive(size):
            assert isinstance(message, str)
            order = decode(Order, message.encode())
            self._sender.output_from(order.task_id, order.lease_id, order.position)

    def cut(self) -> None:
        """What is under way is lost, and the server's process lives on."""
        if self._stream is not None:
            self._stream = None
            self._sender.closed()

    def forget(self) -> None:
        """The server starts anew: connections end, and so do those of the operators."""
        self.cut()
        self._live = LiveOutputs(Limits())
        for operator in self.operators:
            operator.leave()

    def lease_anew(self) -> None:
        """The server has given the same run another lease; what the agent says under the old one counts no more."""
        self._lease = f"lease {int(self._lease.split()[1]) + 1}"
        self._sender.lease_changed(TASK, self._lease)

    async def settle(self) -> None:
        """Nothing more happens: the wire holds, and everybody looks."""
        self.cut()  # a log that was let go is begun anew when the agent connects
        await self.flow()
        for operator in self.operators:
            operator.patience = float("inf")
            await operator.look(self._live)

    async def flow(self) -> None:
        """Until neither side has anything to say."""
        while await self.say(1) or not (self._out.is_empty and self._back.is_empty):
            self.to_server(1 << 20)
            self.to_agent(1 << 20)

    def _connect(self) -> None:
        if self._stream is None:
            agent, server = Connection(ConnectionType.CLIENT), Connection(ConnectionType.SERVER)
            self._out, self._back = Way(agent, server), Way(server, agent)
            self._stream = AgentStream(Credential(NODE, b"", disabled=False))
            self._sender.opened()

    def _take_running(self, said: Running) -> None:
        """As ``control_stream._take_text``, which asks the store whose lease it is."""
        if said.lease_id == self._lease:
            assert self._stream is not None
            position = self._live.begin(said.task_id, NODE, said.lease_id, LIMIT, 1e9, 0)
            control_stream._ask_from(self._stream, said.task_id, said.lease_id, position)


sizes = st.one_of(st.integers(1, 300), st.integers(1, 40_000))
operators = st.integers(0, 2)
flow = st.just(("flow",))
# Most of the time things flow and are looked at, or few lists of steps would come as far as trouble that matters.
step = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(STREAMS), sizes),
    flow,
    flow,
    st.tuples(st.just("look"), operators),
    st.tuples(st.just("look and leave"), operators, st.integers(0, 3)),
    st.tuples(st.sampled_from(["say", "to server", "to agent"]), sizes),
    st.sampled_from([("cut",), ("server forgets",), ("let go",), ("lease",), ("another",)]),
)

LEFT_AT_A_RESET: list[tuple[Any, ...]] = [
    *(("write", "stdout", 10), ("flow",), ("look", 0), ("let go",), ("look and leave", 0, 1), ("cut",), ("flow",)),
    *(("look", 0), ("write", "stderr", 10), ("flow",), ("look", 0)),
]
"""The last that an operator hears is that what was shown is gone."""


@settings(deadline=None, max_examples=extent(60, 300))
@given(st.lists(step, min_size=8, max_size=50))
@example(LEFT_AT_A_RESET)
def test_what_is_shown_is_what_was_written(steps: list[tuple[Any, ...]]) -> None:
    async def scenario() -> None:
        world = World()
        for what, *how in steps:
            await world.do(what, *how)
            for operator in world.operators:  # never anything else, also in between
                assert all(world.written[stream].startswith(operator.shown[stream]) for stream in STREAMS)
        await world.settle()
        for operator in world.operators:
            assert operator.shown == world.written

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
