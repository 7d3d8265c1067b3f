"""A machine that wakes up in 1970, as one without a battery for its clock does, and is told the time later."""

import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.observed import Watch, lines_of
from tests.faults.table import note
from tests.rigs.cutting_proxy import cutting_proxy
from tests.rigs.real_processes import Site
from tests.rigs.server_process import serving, started
from tests.rigs.steered_plane import Plane, SteeredPlane, register_operator
from tests.rigs.transport import Authority

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
AGENT = HERE / "clock_agent.py"
BUILD_S = 60
EPOCH = "1970-01-01"


class WrongClock:
    """A clock that a test sets."""

    def __init__(self, place: Path) -> None:
        self._file = place / "clock"
        self._library = place / "wall_clock.so"
        compiler = shutil.which("cc") or "cc"
        source = HERE / "wall_clock.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self._library, source], check=True, timeout=BUILD_S)
        self._file.write_bytes(struct.pack("q", 0))

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "LATTICE_CLOCK_FILE": str(self._file)}

    def set_ahead(self, seconds: int) -> None:
        """Of the machine's own clock. In place: the file is mapped by those who follow it."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("q", seconds))

    def set_1970(self) -> None:
        self.set_ahead(-int(time.time()) + 60)

    def set_right(self) -> None:
        self.set_ahead(0)


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path)


def test_the_agent_wakes_up_in_1970(plane: SteeredPlane, clock: WrongClock, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    identity = authority.issue("good", alternatives="IP:127.0.0.1")
    clock.set_1970()
    with cutting_proxy(plane.url) as front:
        front.tls = identity.server_context()
        front.lose_request = lambda path: path.endswith("/control/stream")
        site = Site(tmp_path, front.url.replace("http:", "https:"), plane.add_node())
        task = plane.create(site.node, site.script("date +%Y"))
        words = [sys.executable, "-I", AGENT, *site.command("--ca-file", str(authority.certificate))]
        with site.process(words, **clock.environment) as agent:
            agent.wait_log('"ready"')
            watch = Watch(agent)
            seen = watch.until(lambda: "agent/metrics: unreachable" in agent.log_text(), "word of the heartbeat")
            seen.assert_calm(lines=5)
            assert lines_of(agent)[0]["time"].startswith(EPOCH)
            assert "certificate is not yet valid" in agent.log_text()
            assert "this machine's clock" in agent.log_text()
            assert not front.exchanges
            clock.set_right()
            assert plane.result(task)["outcome"] == "succeeded"
            assert len(site.starts()) == 1
            assert agent.stop() == 0
    note(
        "clock at 1970",
        during=f"no certificate is valid yet: that is told, with the clock as what to check, and tried again ({seen});"
        " the clocks of tasks and leases do not follow the wall clock",
        after="goes on by itself when the clock is set",
    )


@pytest.fixture
def wrong_plane(clock: WrongClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    """A control plane in 1970; its clock is ``clock``."""
    database = tmp_path / "control.db"
    operator = register_operator(database)
    clock.set_1970()
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    with started(serving(db_path=str(database))) as running, closing(Plane(running.url, operator)) as plane:
        for name in clock.environment:
            monkeypatch.delenv(name)
        yield plane


def test_the_control_plane_wakes_up_in_1970(wrong_plane: Plane, clock: WrongClock, tmp_path: Path) -> None:
    """When its clock jumps, the lease of a task that runs is dead. The task runs once all the same."""
    site = Site(tmp_path, wrong_plane.url, wrong_plane.add_node())
    with site.agent("--slots", "2") as agent:
        assert wrong_plane.node(site.node)["created_at"].startswith(EPOCH)
        gate = site.gate("first")
        first = wrong_plane.create(site.node, site.script(f"{gate.wait}; echo done"))
        site.wait_starts(1)
        clock.set_right()
        later = wrong_plane.create(site.node, site.script("echo later"))
        assert wrong_plane.result(later)["stdout"] == "later\n"
        gate.open()
        assert wrong_plane.result(first)["stdout"] == "done\n"
        assert site.started_once_at_most()
        assert wrong_plane.stored(site.node) == {first: 1, later: 1}
        assert agent.stop() == 0
    note(
        "clock at 1970",
        plane="works, with stamps of 1970; when its clock is set, leases from before are dead: their tasks are leased"
        " again, and the agent sends what it has under the new lease, without a second start",
    )
