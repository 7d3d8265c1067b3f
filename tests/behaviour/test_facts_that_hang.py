"""A file system that never answers costs the family that looks at it, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.hostile.world import REPOSITORY
from tests.rigs.cutting_proxy import CuttingProxy, cutting_proxy
from tests.rigs.real_processes import COMMAND, Site, wait_until
from tests.rigs.steered_plane import Plane, control_plane

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_fuse, pytest.mark.long]

HEARTBEAT = "/api/agent/metrics"
INTERVAL_S = 1.0
STUCK = [sys.executable, "-m", "tests.rigs.stuck_file_system"]
PACKAGES = "/var/lib/dpkg"
GAP = {"family": "packages", "reason": "not read within 2 s"}
OUTER_S = 30


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def proxy(plane: Plane) -> Iterator[CuttingProxy]:
    with cutting_proxy(plane.url) as running:
        yield running


def run_beside_it(*command: str | Path, timeout_s: float = OUTER_S) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*STUCK, PACKAGES, *command], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=REPOSITORY
    )


def test_the_file_system_does_hang_whoever_looks() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_beside_it("stat", f"{PACKAGES}/status", timeout_s=3)


def test_the_command_tells_the_rest_and_ends() -> None:
    ran = run_beside_it(COMMAND, "facts", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    assert told["gaps"] == [GAP]
    assert told["packages"] is None
    assert told["cpu"]["threads"] >= 1
    assert told["filesystems"]


def test_the_agent_reports_the_gap_and_its_heartbeats_are_on_time(
    plane: Plane, proxy: CuttingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # for the rig; the agent does not look at it
    site = Site(tmp_path, proxy.url, plane.add_node(), prefix=[*STUCK, PACKAGES])
    with site.agent("-interval", f"{INTERVAL_S:g}s"):
        wait_until(lambda: plane.inventory(site.node), "an inventory at the control plane")
        beats = len(proxy.times(HEARTBEAT))
        wait_until(lambda: len(proxy.times(HEARTBEAT)) >= beats + 5, "five heartbeats more")
    inventory = plane.inventory(site.node)
    assert inventory["gaps"] == [GAP]
    assert inventory["system"]["id"]
    times = proxy.times(HEARTBEAT)
    assert max(later - earlier for earlier, later in pairwise(times)) <= 1.2 * INTERVAL_S + 0.5
