"""1 GiB of output while somebody watches: the agent does not grow, its heartbeat is on time, and a control stream that
takes nothing makes no difference to either."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from lattice_agent.wire.control import STREAMS
from tests.hostile.rig import kilobytes
from tests.rigs.live_plane import LivePlane, live_plane
from tests.rigs.real_processes import Site
from tests.rigs.steered_plane import Node
from tests.rigs.troubled_wire import Trouble, troubled_wire
from tests.rigs.viewer import Viewer

MEBIBYTE_KB = 1024
LIMIT = 262_144
YES = f"yes {79 * 'a'} | head -c"
"""Text: a result of zeros costs the agent more than the flood, as each is six bytes of JSON."""
FLOOD = f"echo begun; sleep 1; {YES} 536870912 & {YES} 536870912 >&2; wait; exit 7"
BEAT_S = 1.0
"""The agents' heartbeat interval (``Site.command``)."""
OUTER_LIMIT_S = 60.0


async def watched(plane: LivePlane, script: str, begun: Callable[[], None] = lambda: None) -> Viewer:
    """Somebody who has watched the script to its end. ``begun`` is called when the first output is seen."""
    task = await plane.task("n1", script=script, output_limit=LIMIT)
    viewer = Viewer(plane, task, "n1")
    with trio.fail_after(OUTER_LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(viewer.follow)
            await viewer.until(lambda viewer: viewer.shown["stdout"] or viewer.ending)
            begun()
    return viewer


def peak_kb(*pids: int) -> int:
    return sum(kilobytes(pid, "VmHWM") for pid in pids)


@pytest.mark.hostile
@pytest.mark.slow
@pytest.mark.needs_root
@pytest.mark.parametrize("trouble", [Trouble.NOBODY, Trouble.STREAM])
async def test_a_gibibyte_that_is_watched_grows_nothing_and_delays_no_heartbeat(
    tmp_path: Path, trouble: Trouble
) -> None:
    policy = tmp_path / "cells.toml"
    policy.write_text('min_level = "strict"\ndefault_level = "strict"\n')
    async with live_plane(tmp_path) as plane:
        node = await plane.node("n1")
        with troubled_wire(plane.url) as wire:
            site = Site(tmp_path, wire.url, Node(node.id, node.token))
            with site.agent("--policy", str(policy)) as agent:
                agent.wait_log("control stream: open")
                await watched(plane, f"{YES} {LIMIT}; {YES} {LIMIT} >&2")
                before, began = peak_kb(agent.process.pid, agent.spawner), time.monotonic()
                viewer = await watched(plane, FLOOD, partial(wire.hold, trouble))
                grown = peak_kb(agent.process.pid, agent.spawner) - before
    assert viewer.ending is not None
    result = viewer.ending.data["result"]
    assert (result["outcome"], result["exit_code"]) == ("failed", 7)
    assert [result["detail"][f"{stream}_bytes"] for stream in STREAMS] == [len("begun\n") + (1 << 29), 1 << 29]
    assert all(result[stream].encode().startswith(viewer.shown[stream]) for stream in STREAMS)
    print(f"grown by {grown} kB")
    assert grown < 8 * MEBIBYTE_KB
    assert wire.longest_gap(began, time.monotonic()) <= 1.2 * BEAT_S + 0.5
