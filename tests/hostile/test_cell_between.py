"""Nothing passes between two cells: neither from one that is gone to the next, nor between two at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hostile.cell_rig import (
    AGENTS,
    Agent,
    World,
    an_agent,
    assert_nothing_left,
    eventually,
    plainly,
)

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

LEVELS = ("strict", "network", "landlock")
OBJECTS = {
    "System V memory", "System V semaphores", "System V messages", "message queue", "shared memory file", "file",
    "abstract socket",
}  # fmt: skip
GONE = {"EPERM", "EACCES", "ENOENT", "ECONNREFUSED"}


@pytest.fixture(scope="module", params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with an_agent(request.param) as agent:
        yield agent


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- objects ---


def test_outside_objects_stay_and_are_found() -> None:
    with World() as world:
        left = plainly(world, "leave_objects.py", environment={"STAY_S": "0"})
        assert left.results == dict.fromkeys(OBJECTS, "works")
        found = plainly(world, "find_objects.py")
        assert found.results == {**dict.fromkeys(OBJECTS, "works"), "abstract socket": "ECONNREFUSED"}


def test_outside_a_socket_of_another_is_reached() -> None:
    with World() as world, beside(world, "leave_objects.py", environment={"STAY_S": "1"}):
        eventually(lambda: plainly(world, "find_objects.py").results["abstract socket"], "works")


@contextmanager
def beside(world: World, name: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A script of the corpus runs plainly meanwhile."""
    other = threading.Thread(target=plainly, args=(world, name), kwargs={"environment": environment})
    other.start()
    try:
        yield
    finally:
        other.join()


def test_nothing_is_left_for_the_next(level: str, agent: Agent) -> None:
    left = agent.run("leave_objects.py", level=level, environment={"STAY_S": "0"})
    assert (set(left.results), left.stderr) == (OBJECTS, "")
    found = agent.run("find_objects.py", level=level)
    assert found.results.keys() == OBJECTS
    assert set(found.results.values()) <= GONE
    assert_nothing_left(agent)


def test_nothing_is_found_of_another_at_the_same_time(level: str, agent: Agent) -> None:
    staying = agent.begin("leave_objects.py", level=level, environment={"STAY_S": "0.6"})
    found = [agent.run("find_objects.py", level=level).results for _ in range(3)]
    stayed = agent.outcome(staying)
    assert (set(stayed.results), stayed.stderr) == (OBJECTS, "")
    assert stayed.wall_s >= 0.6
    assert {result for results in found for result in results.values()} <= GONE
    assert_nothing_left(agent)


# --- locks, and watching files ---

SHARED_AT_LANDLOCK = {
    "/usr", "/usr/bin/env", "/bin/sh", "/etc/passwd", "/etc/hosts", "/etc/ld.so.cache", "/dev/null", "/dev/urandom",
    "/proc", "/proc/version",
}  # fmt: skip
"""Without a mount namespace the files that scripts may read are the host's own, and Landlock says nothing about locks:
who can open the same file can talk by it."""


SHARED_DEVICES = {"/dev/null", "/dev/urandom"}
"""Without root a cell has the host's devices, not its own."""


def test_outside_one_hears_the_other() -> None:
    with World() as world, beside(world, "channel_send.py"):
        heard = plainly(world, "channel_receive.py")
    assert heard.stderr == ""
    assert set(heard.results.values()) == {"works"}


def test_one_hears_nothing_of_the_other(level: str, agent: Agent) -> None:
    agent.run("sh", text=":", level=level)
    sending = agent.begin("channel_send.py", level=level)
    receiver = agent.run("channel_receive.py", level=level)
    sender = agent.outcome(sending)
    assert (sender.kind, sender.stderr, receiver.stderr) == ("exited", "", "")
    heard = {name for name, result in receiver.results.items() if result != "silence"}
    shared = SHARED_AT_LANDLOCK if level == "landlock" else () if agent.uid == 0 else SHARED_DEVICES
    assert heard == {f"{way} {path}" for way in ("flock", "lock") for path in shared}
    assert_nothing_left(agent)
