"""Below the cap, what an operator is shown equals what the script wrote, whatever is cut and whoever starts anew.

The agent's sender, the server's logs and the viewer are the real ones; the wire between them loses what was on its way
when it is cut, and can do so after any frame.
"""

import base64
import json
from types import SimpleNamespace

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from lattice_agent.link.features import Features
from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.wire.base import decode
from lattice_agent.wire.control import STREAMS, Running, decode_chunk
from lattice_agent.wire.ext import CONTROL_TASKS
from server_stub.api.live_output import LiveOutputs
from server_stub.api.operator_streams import _Viewer
from server_stub.config import Limits
from server_stub.rules.live_output import Taken

LIMIT = 262_144
QUIET_S = 10.0

write = st.tuples(st.just("write"), st.sampled_from(STREAMS), st.binary(min_size=1, max_size=20_000))
step = st.one_of(
    write,
    st.tuples(st.just("frames"), st.integers(1, 6)),
    st.sampled_from([("cut",), ("server restarts",), ("viewer looks",), ("viewer connects anew",)]),
)


class Way:
    """One run, from the script to the page."""

    def __init__(self) -> None:
        features = Features()
        features.announced([CONTROL_TASKS])
        self._sender = LiveSender(features)
        self._write = self._sender.begin("t", "l")
        self._live = LiveOutputs(Limits())
        self._connected = False
        self._viewer = self._new_viewer(0)
        self.written = dict.fromkeys(STREAMS, b"")
        self.shown = dict.fromkeys(STREAMS, b"")

    async def do(self, what: str, *how: object) -> None:
        match what, how:
            case "write", (str(stream), bytes(data)):
                self.written[stream] += data
                self._write(stream, data)
            case "frames", (int(number),):
                await self.frames(number)
            case "cut", _:
                await self.cut()
            case "server restarts", _:
                await self.cut()
                self._live = LiveOutputs(Limits())
                self._viewer = self._new_viewer(self._viewer.position)
            case "viewer connects anew", _:
                self._viewer = self._new_viewer(self._viewer.position)
            case "viewer looks", _:
                await self.look()

    async def frames(self, number: int) -> None:
        """So many reach the server, or fewer if the agent has no more to say."""
        if not self._connected:
            self._connected = True
            self._sender.opened()
        for _ in range(number):
            with trio.move_on_after(QUIET_S) as waiting:
                frame = await self._sender.next_frame()
            if waiting.cancelled_caught:
                return
            self._arrive(frame)

    async def cut(self) -> None:
        if self._connected:
            with trio.move_on_after(QUIET_S):
                await self._sender.next_frame()  # counts as sent, and is lost
            self._sender.closed()
            self._connected = False

    async def look(self) -> None:
        await self._viewer._catch_up(self._show)

    def _arrive(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            said = decode(Running, frame.encode())
            position = self._live.begin(said.task_id, "n", said.lease_id, LIMIT, 1e9, 0)
            self._sender.output_from(said.task_id, said.lease_id, position)
        else:
            taken, _ = self._live.add("n", *decode_chunk(frame))
            assert taken is Taken.ADDED  # nothing comes twice, and nothing is missing

    def _new_viewer(self, position: int) -> _Viewer:
        return _Viewer(SimpleNamespace(live=self._live), "t", "n", position)  # type: ignore[arg-type]

    async def _show(self, events: bytes) -> None:
        for block in events.decode().strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            if fields["event"] == "reset":
                self.shown = dict.fromkeys(STREAMS, b"")
                continue
            data = json.loads(fields["data"])
            assert len(self.shown[data["stream"]]) == data["offset"]
            self.shown[data["stream"]] += base64.b64decode(data["data"])


@settings(deadline=None, max_examples=150)
@given(st.lists(step, max_size=25))
def test_what_is_shown_is_what_was_written(steps: list[tuple[object, ...]]) -> None:
    async def scenario() -> None:
        way = Way()
        for what, *how in steps:
            await way.do(str(what), *how)
            for stream in STREAMS:  # never anything else, also in between
                assert way.written[stream].startswith(way.shown[stream])
        await way.frames(1_000)
        await way.look()
        assert way.shown == way.written

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
