"""Looks at real trees of processes."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lattice_agent.exec.kernel import proctree


@contextmanager
def tree(script: str) -> Iterator[subprocess.Popen[str]]:
    """A shell that has made its children when it said so; the whole group is killed at the end."""
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as shell:
        try:
            assert shell.stdout is not None
            assert shell.stdout.readline() == "ready\n"
            yield shell
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


@pytest.fixture
def others() -> set[int]:
    """What else this process has started: spawners and servers that other tests share."""
    found = proctree.look(os.getpid())
    proctree.close(found)
    return {process.pid for process in found}


@pytest.fixture(params=["listed", "scanned"])
def both_readers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's lists of children, and as on a kernel without CONFIG_PROC_CHILDREN."""
    if request.param == "scanned":
        exists = os.path.exists
        monkeypatch.setattr(os.path, "exists", lambda path: not str(path).endswith("/children") and exists(path))


@pytest.mark.usefixtures("both_readers")
def test_a_look_finds_children_and_grandchildren_parents_first(others: set[int]) -> None:
    with tree("sh -c 'sleep 60 & echo ready; wait' & wait") as shell:
        found = proctree.look(os.getpid(), skip=others)
        by_pid = {process.pid: process for process in found}
        order = [process.pid for process in found]
        proctree.close(found)
        assert order[0] == shell.pid
        assert len(order) == 3
        assert all(process.running() and process.session == shell.pid for process in by_pid.values())


@pytest.mark.usefixtures("both_readers")
def test_what_is_to_be_skipped_is_skipped_with_everything_below(others: set[int]) -> None:
    with tree("sleep 60 & echo ready; wait") as shell:
        assert proctree.look(os.getpid(), skip={shell.pid, *others}) == []


def test_a_signal_reaches_what_was_seen_and_never_its_successor(others: set[int]) -> None:
    with tree("sleep 60 & echo ready; wait"):
        shell, sleeper = proctree.look(os.getpid(), skip=others)
        assert sleeper.send(signal.SIGKILL)
        assert shell.send(signal.SIGKILL)
        os.waitpid(shell.pid, 0)
        assert not shell.exists()
        assert not shell.send(signal.SIGKILL)
        proctree.close([shell, sleeper])


def test_an_id_that_was_taken_over_by_a_stranger_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = 1  # whose parent is nobody of ours
    listed: Callable[[int], list[int]] = lambda pid: [stranger] if pid == os.getpid() else []  # noqa: E731
    monkeypatch.setattr(proctree, "_children_reader", lambda: listed)
    assert proctree.look(os.getpid()) == []


def test_a_look_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proctree, "MOST", 2)
    with tree("for i in 1 2 3 4; do sleep 60 & done; echo ready; wait") as shell:
        found = proctree.look(shell.pid)
        proctree.close(found)
        assert len(found) == 2


def test_the_process_name_in_stat_may_hold_anything() -> None:
    assert proctree.parse_stat("42 (a) R) 7 (x\n) S 10 11 12 0 -1") == (10, 12, "S")
