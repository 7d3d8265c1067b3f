"""How an agent starts, what keeps it running, and how it ends: real processes, looked at from outside."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lattice_agent.exec.policy import EXEC_DISABLED
from lattice_agent.tasks.shape import INTERRUPTED
from tests.rigs.real_processes import COMMAND, Site, reserved_port, wait_until
from tests.rigs.steered_plane import LIMIT_S, Node, SteeredPlane, control_plane

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteeredPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def site(plane: SteeredPlane, tmp_path: Path) -> Site:
    return Site(tmp_path, plane.url, plane.add_node())


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_weak_point_09_sigterm_lets_tasks_finish_and_interrupts_what_takes_too_long(
    plane: SteeredPlane, site: Site
) -> None:
    gate = site.gate("short")
    short = plane.create(site.node, site.script(f"{gate.wait}; echo done"))
    long = plane.create(site.node, site.script("echo begun; setsid sleep 60 & sleep 60"))
    with site.agent("--drain-time", "1s") as agent:
        site.wait_starts(2)
        agent.process.terminate()
        agent.wait_log("stopping")
        gate.open()
        assert agent.process.wait(LIMIT_S) == os.EX_OK
        agent.wait_spawner_gone()
    assert not site.work_directories()
    site.wait_tasks_gone()
    finished, interrupted = plane.result(short), plane.result(long)
    assert (finished["error"], finished["stdout"]) == ("", "done\n")
    assert (interrupted["error"], interrupted["stdout"]) == (INTERRUPTED, "begun\n")


def test_what_a_kill_left_is_cleaned_up_at_the_next_start(plane: SteeredPlane, site: Site) -> None:
    """Agent and spawner die in one moment, so nobody is there to clean up after them."""
    litter = "mkdir -p a/b; echo x > a/b/file; chmod 0 a"
    task = plane.create(site.node, site.script(f"{litter}; trap '' TERM; setsid sleep 60 & sleep 60"))
    with site.agent() as agent:
        site.wait_starts(1)
        os.kill(agent.spawner, signal.SIGKILL)
        agent.kill()
    site.wait_tasks_gone()
    assert len(site.work_directories()) == 1
    with site.agent() as agent:
        assert plane.result(task)["error"] == INTERRUPTED
        assert not site.work_directories()
        assert agent.stop() == os.EX_OK


@pytest.mark.long
def test_a_second_agent_on_the_same_state_is_refused_with_one_line(site: Site) -> None:
    with site.agent() as agent:
        agent.wait_log('"ready"')
        second = subprocess.run(
            [COMMAND, *site.command()], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert agent.stop() == os.EX_OK
    assert second.returncode == os.EX_TEMPFAIL
    assert second.stderr == (
        f"lattice-agent: state directory {site.state} is in use by another lattice-agent; "
        "stop the other lattice-agent, or give this one its own --state-dir\n"
    )


# --- trouble that must not end it ------------------------------------------------------------------------------------


@pytest.mark.long
def test_weak_point_08_an_agent_that_starts_before_its_control_plane(tmp_path: Path) -> None:
    with reserved_port() as port:
        with control_plane(tmp_path) as plane:
            site = Site(tmp_path, f"http://127.0.0.1:{port}", plane.add_node())
            task = plane.create(site.node, site.script("echo done"))
        with site.agent() as agent:
            agent.wait_log("/api/agent/hello: unreachable")
            with control_plane(tmp_path, port=port) as plane:
                assert plane.result(task)["stdout"] == "done\n"
                wait_until(lambda: plane.node(site.node)["online"], "the node to be online")
                assert agent.stop() == os.EX_OK


@pytest.mark.long
def test_trap_03_weak_point_08_weak_point_22_a_private_public_ip_costs_no_heartbeat(
    plane: SteeredPlane, site: Site
) -> None:
    seen = set()

    def seen_again() -> bool:
        seen.add(plane.node(site.node)["last_seen"])
        return len(seen - {None}) >= 3

    with site.agent("-public-ip", "10.1.2.3", "-ip-mode", "static", "-interval", "0.2s") as agent:
        wait_until(seen_again, "three heartbeats")
        node = plane.node(site.node)
        assert agent.stop() == os.EX_OK
    assert node["addresses"]["public_ip"] == ""
    assert node["host_facts"]
    assert agent.log_text().count("10.1.2.3") == 1


@pytest.mark.long
def test_weak_point_31_a_wrong_token_is_a_state_and_not_an_end(plane: SteeredPlane, site: Site) -> None:
    site.node = Node(site.node.id, "x" * 43)
    with site.agent("-interval", "0.2s") as agent:
        for path in ("hello", "metrics", "config", "tasks"):
            agent.wait_log(f"/api/agent/{path}: unauthorized")
        assert agent.stop() == os.EX_OK
    log = agent.log_text()
    assert log.count("unauthorized") == 4  # once for each of them
    assert "x" * 43 not in log


@pytest.mark.long
def test_kill_switch_of_the_fleet(tmp_path: Path) -> None:
    with control_plane(tmp_path) as plane:
        site = Site(tmp_path, plane.url, plane.add_node())
        task = plane.create(site.node, site.script("echo done"))
        plane.stop_fleet(True)
        with site.agent() as agent:
            agent.wait_log("the control plane has disabled task execution")
            assert plane.task(task)["attempts"] == 0
            plane.stop_fleet(False)
            assert plane.result(task)["stdout"] == "done\n"
            assert agent.stop() == os.EX_OK
    assert agent.log_text().count("task execution for the fleet") == 2
    assert len(site.starts()) == 1


# --- ways to start it ------------------------------------------------------------------------------------------------


def test_trap_08_an_agent_without_the_switch_refuses_with_the_text_of_the_reference(
    plane: SteeredPlane, site: Site
) -> None:
    task = plane.create(site.node, site.script())
    with site.agent("-allow-exec=false") as agent:
        result = plane.result(task)
        assert agent.stop() == os.EX_OK
    assert (result["exit_code"], result["error"]) == (-1, EXEC_DISABLED)
    assert EXEC_DISABLED == "agent task execution disabled; restart with -allow-exec=true to enable"
    assert not site.starts()


@pytest.mark.long
def test_the_command_line_of_an_existing_unit_file(plane: SteeredPlane, site: Site) -> None:
    """Four flags, periods as they come, and a state directory from the service manager."""
    task = plane.create(site.node, site.script("echo done"))
    words = ["-server", plane.url, "-node-id", site.node.id, "-token", site.node.token, "-allow-exec=true"]
    if os.geteuid() == 0:
        words += ["-allow-root-exec=true"]
    with site.process([COMMAND, *words], STATE_DIRECTORY=str(site.state), TMPDIR=str(site.place)) as agent:
        assert plane.result(task)["stdout"] == "done\n"
        assert agent.stop() == os.EX_OK
    assert site.phases() == {"accepted": 1}
    assert not list(site.place.glob("lattice-task-*"))
