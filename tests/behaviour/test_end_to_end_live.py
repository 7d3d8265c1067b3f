"""A real agent on a real control plane, with the control stream between them."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from lattice_agent.wire.control import STREAMS
from tests.rigs import steered_server
from tests.rigs.live_plane import SECONDS, LivePlane, live_plane
from tests.rigs.real_processes import Site, reserved_port
from tests.rigs.steered_plane import Node, control_plane

pytestmark = pytest.mark.slow

SELDOM = ("--poll-interval", "60s", "--poll-interval-busy", "60s")
"""What is quicker was told."""


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[LivePlane]:
    async with live_plane(tmp_path) as made:
        yield made


async def site_of(plane: LivePlane, place: Path) -> Site:
    node = await plane.node("n1")
    return Site(place, plane.url, Node(node.id, node.token))


async def ended(plane: LivePlane, task_id: str) -> None:
    async with plane.follow(task_id, "events") as events:
        await events.until("end")


async def test_told_of_work_and_of_a_cancel_it_acts_at_once(plane: LivePlane, tmp_path: Path) -> None:
    site = await site_of(plane, tmp_path)
    with site.agent(*SELDOM) as agent:
        agent.wait_log("control stream: open")
        began = time.monotonic()
        task = await plane.task("n1", script="exec sleep 1000")
        async with plane.follow(task, "events") as events:
            while (event := await events.event()) is not None:
                if event.data["targets"][0]["running_since"]:
                    break
            await plane.post(f"tasks/{task}/cancel", {})
            assert (await events.until("end")).data["targets"][0]["outcome"] == "cancelled"
        assert time.monotonic() - began < SECONDS / 2
        assert agent.stop() == os.EX_OK


@pytest.mark.long
async def test_output_is_seen_while_the_script_waits(plane: LivePlane, tmp_path: Path) -> None:
    site = await site_of(plane, tmp_path)
    gate = site.gate("go on")
    with site.agent(*SELDOM) as agent:
        agent.wait_log("control stream: open")
        task = await plane.task("n1", script=f"printf 'ä\\n'; printf careful >&2; {gate.wait}; echo after")
        async with plane.follow(task, "output", node="n1") as reader:
            await reader.until_shown(len("ä\ncareful".encode()))
            assert reader.shown == {"stdout": "ä\n".encode(), "stderr": b"careful"}
            gate.open()
            result = (await reader.until("result")).data["result"]
        assert (result["stdout"], result["stderr"]) == ("ä\nafter\n", "careful")
        assert agent.stop() == os.EX_OK


@pytest.mark.long
async def test_a_script_that_changes_streams_all_the_time_does_not_break_the_stream(
    plane: LivePlane, tmp_path: Path
) -> None:
    site = await site_of(plane, tmp_path)
    script = "import os, time\nfor _ in range(3000):\n os.write(1, b'o'); os.write(2, b'e')\ntime.sleep(3)"
    with site.agent(*SELDOM) as agent:
        agent.wait_log("control stream: open")
        task = await plane.task("n1", script=script, interpreter="python3")
        async with plane.follow(task, "output", node="n1") as reader:
            result = (await reader.until("result")).data["result"]
        for stream in STREAMS:
            assert result[stream].encode().startswith(reader.shown[stream])
            assert reader.shown[stream]
        assert reader.resets == 0
        assert agent.log_text().count("control stream: open") == 1
        assert agent.stop() == os.EX_OK


@pytest.mark.long
async def test_a_restarted_control_plane_has_the_output_again(tmp_path: Path) -> None:
    with reserved_port() as port:
        async with live_plane(tmp_path, port) as plane:
            site = await site_of(plane, tmp_path)
            with site.agent(*SELDOM) as agent:
                agent.wait_log("control stream: open")
                gate = site.gate("go on")
                task = await plane.task("n1", script=f"echo before; {gate.wait}; echo after", timeout_sec=60)
                async with plane.follow(task, "output", node="n1") as reader:
                    await reader.until_shown(len(b"before\n"))
                plane.server.process.kill()
                plane.server.wait()
                async with live_plane(tmp_path, port) as again:
                    async with again.follow(task, "output", node="n1") as reader:
                        await reader.until_shown(len(b"before\n"))
                        gate.open()
                        result = (await reader.until("result")).data["result"]
                    assert result["stdout"] == "before\nafter\n"
                    with trio.fail_after(SECONDS):
                        await ended(again, task)
                    assert agent.stop() == os.EX_OK


@pytest.mark.long
def test_with_the_base_wire_it_polls_as_ever(tmp_path: Path) -> None:
    with control_plane(tmp_path, wire=steered_server.BASE) as plane:
        site = Site(tmp_path, plane.url, plane.add_node())
        with site.agent() as agent:
            assert plane.result(plane.create(site.node, "echo done"))["stdout"] == "done\n"
            assert agent.stop() == os.EX_OK
        assert "control stream" not in agent.log_text()


@pytest.mark.long
async def test_a_restarted_agent_opens_its_stream_again(plane: LivePlane, tmp_path: Path) -> None:
    site = await site_of(plane, tmp_path)
    with site.agent(*SELDOM) as agent:
        agent.wait_log("control stream: open")
        task = await plane.task("n1", script="echo begun; exec sleep 1000")
        async with plane.follow(task, "output", node="n1") as reader:
            await reader.until_shown(len(b"begun\n"))
        agent.kill()
    with site.agent(*SELDOM) as agent:
        agent.wait_log("control stream: open")
        async with plane.follow(task, "output", node="n1") as reader:
            assert (await reader.until("result")).data["result"]["error"].startswith("interrupted")
        task = await plane.task("n1", script="echo again")
        async with plane.follow(task, "output", node="n1") as reader:
            assert (await reader.until("result")).data["result"]["stdout"] == "again\n"
        assert agent.stop() == os.EX_OK
