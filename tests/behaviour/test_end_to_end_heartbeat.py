"""Whatever a task does, the heartbeat keeps its rhythm and the agent its size; measured on the way to the server."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.hostile.rig import kilobytes
from tests.rigs.cutting_proxy import CuttingProxy, cutting_proxy
from tests.rigs.real_processes import Site, wait_until
from tests.rigs.steered_plane import Plane, control_plane

pytestmark = pytest.mark.slow

HEARTBEAT = "/api/agent/metrics"
GIBIBYTE = 1 << 30
GROWTH_KIB = 8 * 1024


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def proxy(plane: Plane) -> Iterator[CuttingProxy]:
    with cutting_proxy(plane.url) as running:
        yield running


@pytest.fixture
def site(plane: Plane, proxy: CuttingProxy, tmp_path: Path) -> Site:
    return Site(tmp_path, proxy.url, plane.add_node())


def wait_heartbeats(proxy: CuttingProxy, count: int) -> None:
    """Until so many more have passed."""
    wanted = len(proxy.times(HEARTBEAT)) + count
    wait_until(lambda: len(proxy.times(HEARTBEAT)) >= wanted, f"{count} heartbeats")


def largest_gap(proxy: CuttingProxy) -> float:
    return max(later - earlier for earlier, later in pairwise(proxy.times(HEARTBEAT)))


def allowed_gap(interval_s: float) -> float:
    return 1.2 * interval_s + 0.5


@pytest.mark.long
def test_weak_point_01_a_running_task_delays_no_heartbeat(plane: Plane, proxy: CuttingProxy, site: Site) -> None:
    """The task ends when six have passed while it ran, about three seconds."""
    gate = site.gate("end")
    with site.agent("-interval", "0.5s", "--slots", "1") as agent:
        task = plane.create(site.node, site.script(gate.wait))
        site.wait_starts(1)
        wait_heartbeats(proxy, 6)
        gate.open()
        assert plane.result(task)["error"] == ""
        assert agent.stop() == os.EX_OK
    assert largest_gap(proxy) <= allowed_gap(0.5)


@pytest.mark.long
def test_a_flood_of_output_delays_no_heartbeat_and_takes_no_memory(
    plane: Plane, proxy: CuttingProxy, site: Site
) -> None:
    """1 GiB takes about a second, so the interval is short: reading it in one go would show as a gap."""
    printed, gate = site.gate("printed"), site.gate("end")
    flood = f"head -c {GIBIBYTE} /dev/zero; touch {printed.path}; {gate.wait}"
    with site.agent("-interval", "0.2s") as agent:
        plane.result(plane.create(site.node, site.script()))  # what the first task loads is not the flood's doing
        wait_heartbeats(proxy, 1)
        before = kilobytes(agent.process.pid, "VmHWM")
        task = plane.create(site.node, site.script(flood))
        supervisor = site.wait_starts(2)[1].supervisor
        supervisor_before = kilobytes(supervisor, "VmHWM")
        wait_until(printed.path.exists, "the end of the flood")
        wait_heartbeats(proxy, 1)
        growth = kilobytes(agent.process.pid, "VmHWM") - before
        growth += kilobytes(supervisor, "VmHWM") - supervisor_before
        gate.open()
        result = plane.result(task)
        assert agent.stop() == os.EX_OK
    assert result["error"] == "stdout exceeded task output limit; output truncated"
    assert result["stdout"] == "\0" * 65_536
    assert growth < GROWTH_KIB
    assert largest_gap(proxy) <= allowed_gap(0.2)
