"""The observer sees: whatever a script could leave behind, left on purpose, is a difference of that name."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.hostile.cell_rig import PYTHON, Agent, an_agent, eventually, plainly
from tests.hostile.inventory import settled_inventory, take_inventory
from tests.hostile.world import only_child

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

A_LOCK = "import fcntl, time; held = open('/run/locked', 'w'); fcntl.flock(held, fcntl.LOCK_EX); time.sleep(60)"
A_ZOMBIE = "import os, time; os.fork() or os._exit(0); time.sleep(60)"
A_LISTENER = "import socket, time; held = socket.create_server(('127.0.0.1', 0)); time.sleep(60)"
A_NAME = "import socket, time; held = socket.socket(socket.AF_UNIX); held.bind('\\0left'); time.sleep(60)"
STAYING = {
    "processes": ["sh", "-c", "(sleep 60 &); exec sleep 60"],
    "zombies": [PYTHON, "-c", A_ZOMBIE],
    "namespaces": ["unshare", "--net", "sleep", "60"],
    "locks": [PYTHON, "-c", A_LOCK],
    "sockets": [PYTHON, "-c", A_LISTENER],
    "sockets of unix": [PYTHON, "-c", A_NAME],
}
"""By the difference: what has to be there while it is looked for."""
DONE = {
    "files": (["touch", "/dev/shm/left"], ["rm", "/dev/shm/left"]),
    "mounts": (["mount", "-t", "tmpfs", "left", "/mnt"], ["umount", "/mnt"]),
    "interfaces": (
        ["ip", "link", "add", "left", "type", "veth", "peer", "name", "right"],
        ["ip", "link", "del", "left"],
    ),
}
"""What is done, and undone."""


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with an_agent("root") as agent:
        agent.run("sh", text=":")
        yield agent


def done(agent: Agent, argv: list[str]) -> None:
    with agent.world.start(argv) as process:
        assert process.wait() == 0


@pytest.mark.parametrize("name", STAYING)
def test_what_stays_there_is_seen(name: str, agent: Agent) -> None:
    before = settled_inventory(agent)
    with agent.world.start(STAYING[name], stderr=subprocess.DEVNULL) as process:
        eventually(lambda: name.split()[0] in before.differences(take_inventory(agent)), True)
        os.kill(only_child(process.pid), signal.SIGKILL)
    for left in agent.world.processes():
        if left.arguments == "sleep 60":
            done(agent, ["kill", "-KILL", str(left.pid)])
    # A lock's file stays.
    eventually(lambda: set(before.differences(take_inventory(agent))) <= {"files"}, True)


@pytest.mark.parametrize("name", DONE)
def test_what_is_changed_is_seen(name: str, agent: Agent) -> None:
    before = settled_inventory(agent)
    do, undo = DONE[name]
    done(agent, do)
    assert name in before.differences(take_inventory(agent))
    done(agent, undo)
    eventually(lambda: before.differences(take_inventory(agent)), [])


def test_what_belongs_to_no_process_is_seen() -> None:
    """System V objects, message queues, keys, files, as the corpus leaves them."""
    with an_agent("nobody") as agent:
        agent.run("sh", text=":")
        before = settled_inventory(agent)
        plainly(agent.world, "leave_objects.py", uid=agent.uid, environment={"STAY_S": "0"})
        after = take_inventory(agent)
        assert {"objects", "keys", "files"} <= set(before.differences(after))
        assert after.objects == {"shm": 1, "sem": 1, "msg": 1}
        assert "lattice-test" in after.files[-1].split("/")[-1]


def test_what_was_done_to_the_agent_is_seen(agent: Agent) -> None:
    before = settled_inventory(agent)
    soft, hard = resource.prlimit(agent.outer_pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.outer_pid, resource.RLIMIT_NOFILE, (soft - 1, hard))
    assert before.differences(take_inventory(agent)) == ["standing"]
    resource.prlimit(agent.outer_pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert before.differences(take_inventory(agent)) == []


def test_what_agent_and_spawner_hold_is_seen(agent: Agent) -> None:
    before = settled_inventory(agent)
    running = agent.begin("sh", text="exec sleep 60", wall_s=60)
    eventually(lambda: {"processes", "descriptors"} <= set(before.differences(take_inventory(agent))), True)
    (script,) = [process for process in agent.world.processes() if process.arguments == "sleep 60"]
    done(agent, ["kill", "-KILL", str(script.pid)])
    assert agent.outcome(running).kind == "signalled"
    eventually(lambda: before.differences(take_inventory(agent)), [])
