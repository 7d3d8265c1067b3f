"""Live output between real processes, and all that can befall the way in between: who follows the protocol is shown
the bytes of the script, and heartbeats do not notice."""

import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from lattice_agent.wire.control import STREAMS
from tests.rigs import hasty_agent
from tests.rigs.live_plane import SECONDS, LivePlane, live_plane
from tests.rigs.real_processes import Gate, RunningAgent, Site, reserved_port
from tests.rigs.steered_plane import Node
from tests.rigs.troubled_wire import Trouble, TroubledWire, troubled_wire
from tests.rigs.viewer import Viewer

pytestmark = pytest.mark.slow

BEAT_S = 1.0
"""The agents' heartbeat interval (``Site.command``)."""
GAP_S = 1.2 * BEAT_S + 0.5
HASTY = "0.4,1.2,1.0"
"""Ping, longest silence and longest write of the stream, in seconds, where the real ones would take a minute."""
LIMITS = {"output_limit": 262_144, "timeout_sec": 120}
WRITER = """
import os, time
for number in range({bursts}):
    os.write(1, b"".join(b"out %06d %s\\n" % (20 * number + line, b"o" * (number % 60)) for line in range(20)))
    os.write(2, b"err %06d \\xc3\\xa4\\n" % number)
    time.sleep({pause_s})
open({written!r}, "w").close()
while not os.path.exists({gate!r}):
    time.sleep(0.02)
os.write(1, b"the end\\n")
"""


@dataclass
class Run:
    """A script that writes ``bursts`` and then waits for the gate; and a viewer who watches it from the start."""

    site: Site
    task_id: str
    viewer: Viewer
    written: Path
    gate: Gate
    bursts: int

    @property
    def bytes(self) -> dict[str, bytes]:
        """What it writes before it waits."""
        lines = (
            b"out %06d %s\n" % (20 * number + line, b"o" * (number % 60))
            for number in range(self.bursts)
            for line in range(20)
        )
        return {
            "stdout": b"".join(lines),
            "stderr": b"".join(b"err %06d \xc3\xa4\n" % number for number in range(self.bursts)),
        }

    async def all_shown(self, viewer: Viewer | None = None) -> None:
        with trio.fail_after(2 * SECONDS):
            await (viewer or self.viewer).until(lambda viewer: viewer.shown == self.bytes)

    async def some_shown(self) -> None:
        with trio.fail_after(SECONDS):
            await self.viewer.until(lambda viewer: viewer.shown["stdout"])

    async def ended(self) -> dict[str, object]:
        """Opens the gate; the result, of which all but the last line was shown before."""
        self.gate.open()
        with trio.fail_after(SECONDS):
            await self.viewer.until(lambda viewer: viewer.ending)
        assert self.viewer.ending is not None
        assert self.viewer.ending.name == "result"
        result = dict(self.viewer.ending.data["result"])
        assert result["stdout"].encode() == self.bytes["stdout"] + b"the end\n"
        assert result["stderr"].encode() == self.bytes["stderr"]
        return result


@asynccontextmanager
async def run_on(plane: LivePlane, site: Site, bursts: int = 60, pause_s: float = 0.05) -> AsyncIterator[Run]:
    written, gate = site.place / "written", site.gate("end")
    script = WRITER.format(bursts=bursts, pause_s=pause_s, written=str(written), gate=str(gate.path))
    task = await plane.task(site.node.id, script=script, interpreter="python3", **LIMITS)
    viewer = Viewer(plane, task, site.node.id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(viewer.follow)
        yield Run(site, task, viewer, written, gate, bursts)
        nursery.cancel_scope.cancel()


@dataclass
class Scene:
    plane: LivePlane
    site: Site
    wire: TroubledWire
    agent: RunningAgent

    async def beats_went_on_since(self, began: float, beats: int = 3) -> None:
        """Waits for some more, and looks how long they were apart."""
        seen = len(self.wire.beats)
        with trio.fail_after(SECONDS):
            while len(self.wire.beats) < seen + beats:  # noqa: ASYNC110  # of another process
                await trio.sleep(0.05)
        assert self.wire.longest_gap(began, time.monotonic()) <= GAP_S


@asynccontextmanager
async def scene(place: Path, *, limits: str = HASTY) -> AsyncIterator[Scene]:
    """A control plane, an agent, and a wire between them that can be troubled; the agent's stream is open."""
    async with live_plane(place) as plane:
        node = await plane.node("n1")
        with troubled_wire(plane.url) as wire:
            site = Site(place, wire.url, Node(node.id, node.token))
            with site.process(command(site, limits)) as agent:
                agent.wait_log("control stream: open")
                yield Scene(plane, site, wire, agent)


def command(site: Site, limits: str) -> list[str | Path]:
    return [sys.executable, "-I", str(hasty_agent.__file__), limits, *site.command("--poll-interval", "60s")]


@pytest.mark.long
async def test_a_control_plane_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    with reserved_port() as port:
        async with live_plane(tmp_path, port) as plane:
            node = await plane.node("n1")
            site = Site(tmp_path, plane.url, Node(node.id, node.token))
            with site.agent() as agent:
                agent.wait_log("control stream: open")
                async with run_on(plane, site) as run:
                    await run.some_shown()
                    plane.server.process.kill()
                    plane.server.wait()
                    async with live_plane(tmp_path, port):
                        await run.all_shown()
                        await run.ended()
                assert agent.stop() == os.EX_OK


async def test_an_agent_that_is_killed_ends_the_view_as_interrupted(tmp_path: Path) -> None:
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        site = Site(tmp_path, plane.url, Node(node.id, node.token))
        with site.agent() as agent:
            agent.wait_log("control stream: open")
            async with run_on(plane, site) as run:
                await run.some_shown()
                agent.kill()
                shown = dict(run.viewer.shown)
                with site.agent(), trio.fail_after(SECONDS):
                    await run.viewer.until(lambda viewer: viewer.ending)
    assert all(run.bytes[stream].startswith(shown[stream]) for stream in STREAMS)
    assert run.viewer.ending is not None
    assert run.viewer.ending.data["result"]["outcome"] == "interrupted"


@pytest.mark.long
@pytest.mark.parametrize("within", [1, 5_000])
async def test_a_connection_that_is_cut_in_the_middle_of_a_frame(tmp_path: Path, within: int) -> None:
    async with scene(tmp_path) as at:
        at.wire.cut_within = within
        began = time.monotonic()
        async with run_on(at.plane, at.site) as run:
            await run.all_shown()
            await run.ended()
        assert at.wire.streams >= 2
        assert run.viewer.resets == 0
        await at.beats_went_on_since(began)


@pytest.mark.long
async def test_everything_is_cut_again_and_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        async with run_on(at.plane, at.site) as run:
            await run.some_shown()  # a poll whose answer is lost costs the whole lease (protocol reference 2.3)
            for streams in (2, 3, 4):
                at.wire.cut()
                with trio.fail_after(SECONDS):
                    while at.wire.streams < streams:  # noqa: ASYNC110  # of another process
                        await trio.sleep(0.02)
            await run.all_shown()
            await run.ended()
        assert run.viewer.resets == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("limits", "hole_s"), [pytest.param(HASTY, 4.0, id="hasty"), pytest.param("20,45,20", 60.0, id="real")]
)
async def test_a_black_hole_that_lasts_longer_than_the_deadlines(tmp_path: Path, limits: str, hole_s: float) -> None:
    """Nothing comes through and nothing says so: the stream's own deadlines end it. Once with the real ones."""
    async with scene(tmp_path, limits=limits) as at:
        async with run_on(at.plane, at.site) as run:
            await run.some_shown()
            at.wire.hold(Trouble.STREAM)
            began = time.monotonic()
            with trio.fail_after(hole_s + SECONDS):
                while at.agent.log_text().count("control stream: nothing was heard") < 1:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            await trio.sleep_until(trio.current_time() + max(0.0, began + hole_s - time.monotonic()))
            await at.beats_went_on_since(began)
            at.wire.hold(Trouble.NOBODY)
            await run.all_shown()
            await run.ended()
        assert run.viewer.resets == 0


@pytest.mark.long
async def test_a_black_hole_for_everything(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        async with run_on(at.plane, at.site) as run:
            await run.some_shown()
            at.wire.hold(Trouble.EVERYBODY)
            with trio.fail_after(SECONDS):
                while not run.written.exists():  # noqa: ASYNC110  # the script does not notice
                    await trio.sleep(0.05)
            at.agent.wait_log("nothing was heard")
            at.wire.hold(Trouble.NOBODY)
            await run.all_shown()
            await run.ended()


@pytest.mark.long
async def test_a_result_does_not_wait_for_a_stream_that_is_stuck(tmp_path: Path) -> None:
    async with scene(tmp_path, limits="20,45,20") as at:
        async with run_on(at.plane, at.site, bursts=150, pause_s=0.02) as run:
            await run.some_shown()
            at.wire.hold(Trouble.STREAM)
            began = time.monotonic()
            await run.ended()  # the stream is held, and its deadlines are far away
            await at.beats_went_on_since(began)
            assert at.agent.log_text().count("control stream: open") == 1


@pytest.mark.long
async def test_a_slow_link_slows_only_who_watches(tmp_path: Path) -> None:
    async with scene(tmp_path, limits="20,45,20") as at:
        at.wire.stream_pace = 20_000.0
        began = time.monotonic()
        async with run_on(at.plane, at.site, bursts=60, pause_s=0.0) as run:
            with trio.fail_after(SECONDS):
                while not run.written.exists():  # noqa: ASYNC110  # by the script
                    await trio.sleep(0.01)
            assert run.viewer.shown != run.bytes
            await run.all_shown()
            await at.beats_went_on_since(began)
            await run.ended()
        assert run.viewer.resets == 0


@pytest.mark.long
async def test_a_slow_reader_delays_nobody_else_and_misses_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, limits="20,45,20") as at:
        began = time.monotonic()
        async with run_on(at.plane, at.site, bursts=40, pause_s=0.02) as run:
            slow = Viewer(at.plane, run.task_id, "n1", pause_s=0.05)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(slow.follow)
                await run.all_shown()
                await run.all_shown(slow)
                nursery.cancel_scope.cancel()
            await at.beats_went_on_since(began)
            await run.ended()
