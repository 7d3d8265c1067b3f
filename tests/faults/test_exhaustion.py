"""No descriptor, no process and no thread left: EMFILE, and EAGAIN or ENOMEM of fork."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.faults.limits import no_more_files, no_more_processes
from tests.faults.observed import Watch
from tests.faults.table import apart, note
from tests.rigs.extent import extent
from tests.rigs.real_processes import LIMIT_S, Site, wait_until
from tests.rigs.steered_plane import SteeredPlane
from tests.rigs.troubled_wire import TroubledWire
from tests.rigs.unprivileged import as_nobody

pytestmark = pytest.mark.needs_root

HOST, STRICT = "-allow-root-exec=true", "-allow-root-exec=false"
NOBODY = ("nobody", "nogroup")
SLOTS = ("--slots", "2")


@pytest.fixture
def site(plane: SteeredPlane, wire: TroubledWire, tmp_path: Path) -> Site:
    return Site(tmp_path, wire.url, plane.add_node())


def run(plane: SteeredPlane, site: Site, text: str) -> dict[str, Any]:
    return plane.result(plane.create(site.node, f"echo {text}"))


@pytest.mark.sized
@pytest.mark.parametrize("level", [HOST, pytest.param(STRICT, marks=pytest.mark.long)])
def test_emfile(plane: SteeredPlane, wire: TroubledWire, site: Site, level: str) -> None:
    with site.agent(level, *SLOTS) as agent:
        run(plane, site, "before")
        with no_more_files(agent.process.pid):
            watch = Watch(agent, wire)
            results = [run(plane, site, "during") for _ in range(3)]
            seen = watch.beats(extent(2, 6))
        # At level strict there may be a cell that had its descriptors before.
        assert all("Too many open files" in result["error"].replace("too", "Too") for result in results[-1:]), results
        assert {result["outcome"] for result in results} <= {"not_started", "succeeded"}
        seen.assert_calm(lines=5)
        assert seen.gap_s < LIMIT_S / 4
        assert run(plane, site, "after")["stdout"] == "after\n"
        assert agent.stop() == 0
    note(
        "EMFILE",
        during=f"heartbeats and polls go on over the connections there are; what needs a descriptor is told as not"
        f" started, `Too many open files` ({seen})",
        after="the next task runs, without a restart",
    )


@pytest.mark.long
def test_emfile_and_the_connections_are_lost(plane: SteeredPlane, wire: TroubledWire, site: Site) -> None:
    """No connection can be opened, so nobody hears of the node; it neither ends nor spins, and comes back."""
    with site.agent(HOST, *SLOTS) as agent:
        run(plane, site, "before")
        with no_more_files(agent.process.pid):
            watch = Watch(agent)
            wire.cut()
            for path in ("/api/agent/metrics", "/api/agent/config"):
                agent.wait_log(f"{path}: unreachable")
            task = plane.create(site.node, "echo after")
            seen = watch.until(lambda: "Too many open files" in agent.log_text(), "the reason in the log")
        seen.assert_calm(lines=6)
        assert plane.result(task)["stdout"] == "after\n"
        assert agent.stop() == 0


@pytest.mark.long
@pytest.mark.parametrize("level", [HOST, STRICT])
def test_emfile_of_the_spawner(plane: SteeredPlane, wire: TroubledWire, site: Site, level: str) -> None:
    with site.agent(level, *SLOTS) as agent:
        run(plane, site, "before")
        spawner = agent.spawner
        with no_more_files(spawner):
            watch = Watch(agent, wire)
            results = [run(plane, site, "during") for _ in range(4)]  # more than there are cells ready
            seen = watch.beats(5)
        assert results[-1]["outcome"] == "not_started", results[-1]
        assert "oo many open files" in results[-1]["error"]
        assert {result["outcome"] for result in results} <= {"not_started", "succeeded"}
        seen.assert_calm(lines=3)
        assert run(plane, site, "after")["stdout"] == "after\n"
        assert agent.spawner == spawner
        assert agent.stop() == 0
    note(
        "EMFILE of the spawner",
        during=f"tasks are told as not started, with the reason; cells that are ready are used ({seen})",
        after="the same spawner goes on",
    )
    apart("EMFILE of the spawner", "it has none")


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that an ordinary user reaches."""
    with TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.long
@pytest.mark.parametrize("level", ["host", "strict"])
def test_no_process_can_be_started(plane: SteeredPlane, wire: TroubledWire, open_place: Path, level: str) -> None:
    """As for a user whose processes are too many, or a machine without memory: neither fork nor a thread works."""
    site = Site(open_place, wire.url, plane.add_node(), prefix=as_nobody())
    policy = open_place / "levels.toml"
    policy.write_text(f'min_level = "host"\ndefault_level = "{level}"\n')
    site.command()
    os.chown(open_place / "token", 65_534, 65_534)
    with site.agent("--policy", str(policy), *SLOTS) as agent:
        run(plane, site, "before")
        with no_more_processes(NOBODY, agent.process.pid, agent.spawner):
            watch = Watch(agent, wire)
            results = [run(plane, site, "during") for _ in range(4)]
            # 40 s: a service that crashed each time would have ended the agent by then.
            seen = watch.beats(40 if level == "host" else 5)
        assert results[-1]["outcome"] == "not_started", results[-1]
        assert {result["outcome"] for result in results} <= {"not_started", "succeeded"}
        # A thread that was there before is used again as long as it has work: what works again and fails again is told.
        seen.assert_calm(lines=10, times=3)
        assert seen.gap_s < LIMIT_S / 4
        assert run(plane, site, "after")["stdout"] == "after\n"
        assert agent.stop() == 0
    note(
        "ENOMEM on fork",
        during=f"heartbeats go on with the facts that were read last; tasks are told as not started, with the kernel's"
        f" words ({seen})",
        after="the next task runs, without a restart",
    )
    apart("ENOMEM on fork", "it starts no process; its threads are there from its first requests on")


@pytest.mark.long
def test_what_runs_ends_in_time_while_the_spawner_has_no_descriptor(
    plane: SteeredPlane, wire: TroubledWire, site: Site
) -> None:
    """It cannot be looked at, nor counted; it is ended all the same, by its clock or because nobody watches it."""
    with site.agent(STRICT, *SLOTS) as agent:
        run(plane, site, "before")
        task = plane.create(site.node, "echo begun; sleep 60", timeout_sec=3)
        wait_until(lambda: plane.task(task)["status"] == "leased", "the lease")
        with no_more_files(agent.spawner):
            result = plane.result(task)
        assert result["outcome"] in ("timed_out", "interrupted"), result
        assert result["stdout"] == "begun\n"
        assert run(plane, site, "after")["stdout"] == "after\n"
        assert agent.stop() == 0
