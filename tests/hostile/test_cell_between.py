"""Nothing passes between two cells: neither from one that is gone to the next, nor between two at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hostile.cell_rig import eventually, plainly
from tests.hostile.places import Place
from tests.hostile.world import World

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

OBJECTS = {
    "key", "System V memory", "System V semaphores", "System V messages", "message queue", "shared memory file", "file",
    "abstract socket",
}  # fmt: skip
GONE = {"EPERM", "EACCES", "ENOENT", "ECONNREFUSED"}


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


STAYS_AT_HOST = frozenset({"objects", "files", "keys"})
FOUND_AT_HOST = OBJECTS - {"abstract socket"}
"""Of a script that has ended: a socket goes with the last who holds it."""


def test_nothing_is_left_for_the_next(place: Place) -> None:
    left = place.run("leave_objects.py", environment={"STAY_S": "0"})
    assert (set(left.results), left.stderr) == (OBJECTS, "")
    found = place.run("find_objects.py")
    assert found.results.keys() == OBJECTS
    through = {name for name, result in found.results.items() if result not in GONE}
    assert through == (FOUND_AT_HOST if place.is_host else set())
    if place.is_host:
        place.note("leave_objects.py", f"succeeds, as declared; left: {', '.join(sorted(through))}")
        place.agents.spoil(place.who)
    else:
        place.verdict("leave_objects.py", "refused, or gone with the cell")


def test_nothing_is_found_of_another_at_the_same_time(place: Place) -> None:
    staying = place.begin("leave_objects.py", environment={"STAY_S": "0.6"})
    found = [place.run("find_objects.py").results for _ in range(3)]
    stayed = place.outcome(staying)
    assert (set(stayed.results), stayed.stderr) == (OBJECTS, "")
    assert stayed.wall_s >= 0.6
    through = {name for results in found for name, result in results.items() if result not in GONE}
    if place.is_host:
        assert through >= FOUND_AT_HOST
        place.verdict_on_a_spoiled_world("find_objects.py", "succeeds, as declared: finds all of another")
    else:
        assert through == set()
        place.verdict("find_objects.py", "finds nothing of another")


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
    """It listens until it has heard everything; in a cell, as long as the other speaks."""
    with World() as world, beside(world, "channel_send.py", {"SAYS_S": "6"}):
        heard = plainly(world, "channel_receive.py", environment={"PATIENCE_S": "6"})
    assert heard.stderr == ""
    assert set(heard.results.values()) == {"works"}


def test_one_hears_nothing_of_the_other(place: Place) -> None:
    place.run("sh", text=":")
    sending = place.begin("channel_send.py")
    receiver = place.run("channel_receive.py")
    sender = place.outcome(sending)
    assert (sender.kind, sender.stderr, receiver.stderr) == ("exited", "", "")
    heard = {name for name, result in receiver.results.items() if result != "silence"}
    if place.is_host:
        assert heard == receiver.results.keys()
        place.verdict("channel_send.py", "succeeds, as declared: locks and inotify are heard")
        return
    shared = SHARED_AT_LANDLOCK if place.level == "landlock" else () if place.who == "root" else SHARED_DEVICES
    assert heard == {f"{way} {path}" for way in ("flock", "lock") for path in shared}
    words = f"locks on {len(shared)} files of the host are heard, as declared" if shared else "nothing is heard"
    place.verdict("channel_send.py", words)
