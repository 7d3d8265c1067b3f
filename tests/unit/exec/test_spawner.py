"""The spawner as its socket sees it: refused messages, closed descriptors, supervisors and orphans."""

import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.requests import (
    FROM_SPAWNER,
    FROM_SUPERVISOR,
    MAX_MESSAGE,
    Destroy,
    Ended,
    Failed,
    Kill,
    Message,
    Refused,
    Run,
    RunGone,
    Started,
    Swept,
    decode,
    encode,
)
from tests.hostile.rig import OUTER_LIMIT_S, children_of, fork_spawner, marker, processes_of, wait_until


class Line:
    """One end of a socket, read with a bound."""

    def __init__(self, sock: socket.socket, allowed: frozenset[type[Message]]) -> None:
        self.sock = sock
        self._allowed = allowed

    def hear(self) -> Message | None:
        """The next message; None at end-of-file."""
        self.sock.settimeout(OUTER_LIMIT_S)
        data = self.sock.recv(MAX_MESSAGE)
        return decode(data, self._allowed) if data else None


class Rig:
    """A spawner, and runs on it without any of the agent's code."""

    def __init__(self, spawner: SpawnerProcess, directory: Path) -> None:
        self._directory = directory
        self.spawner = spawner
        self.line = Line(spawner.socket, FROM_SPAWNER)
        self.run_id = marker()
        self._lines: list[Line] = []

    def close(self) -> None:
        for line in self._lines:
            line.sock.close()
        self.spawner.close()

    def line_to(self, control: socket.socket) -> Line:
        """A control line that is closed at the end of the test."""
        self._lines.append(Line(control, FROM_SUPERVISOR))
        return self._lines[-1]

    def run(self, script: str, number: int = 1, **changes: object) -> Line:
        """Ask for a run of ``sh -c``-like text given as a file; its control line."""
        values: dict[str, object] = {
            "run": number,
            "argv": [b"/bin/sh", b"/dev/stdin"],
            "environment": [b"PATH=/usr/bin:/bin", f"LATTICE_TASK_ID={self.run_id}".encode()],
            "directory": b"/",
            "limits": [resource.RLIMIT_CORE, 0, 0],
            "linger_ms": 0,
        }
        if "argv" not in changes:
            path = self._directory / f"script-{len(self._lines)}"  # its own: a shell reads it late
            path.write_text(script)
            values["argv"] = [b"/bin/sh", os.fsencode(path)]
        control, theirs = seqpacket.pair()
        pipes = [os.pipe(), os.pipe()]
        message = Run(**(values | changes))  # type: ignore[arg-type]  # field values
        passed = [theirs.fileno(), pipes[0][1], pipes[1][1]]
        self.send(encode(message), passed)
        theirs.close()
        for read_end, write_end in pipes:
            os.close(read_end)
            os.close(write_end)
        return self.line_to(control)

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        self.spawner.socket.settimeout(OUTER_LIMIT_S)
        self.spawner.socket.sendmsg([data], seqpacket.rights(descriptors or []))

    def assert_alive(self) -> None:
        """It still answers."""
        self.send(encode(Destroy(999)))
        assert self.line.hear() == RunGone(999, 0)

    def descriptors(self) -> set[str]:
        """What the spawner has open."""
        return set(os.listdir(f"/proc/{self.spawner.pid}/fd"))

    def refusal(self) -> str:
        message = self.line.hear()
        assert isinstance(message, Refused)
        return message.reason.decode()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(start_spawner(), tmp_path)
    rig.assert_alive()
    yield rig
    rig.close()


GOOD = encode(Run(1, [b"/bin/sh", b"/dev/null"], [b"A=b"], b"/", [], 0))


@pytest.mark.parametrize(
    ("data", "count", "reason"),
    [
        (b"\0", 0, "truncated"),
        (b"garbage that is no message", 0, "unknown"),
        (encode(Kill(1)), 0, "not allowed here"),
        (GOOD[:-1], 3, "truncated"),
        (GOOD + b"x", 3, "after the last"),
        (GOOD, 0, "0 descriptors"),
        (GOOD, 2, "2 descriptors"),
        (GOOD, 4, "4 descriptors"),
        (encode(Destroy(1)), 1, "1 descriptors"),
        (b"x" * (MAX_MESSAGE + 1), 0, "did not fit"),
        (b"x" * (MAX_MESSAGE + 1), 3, "did not fit"),
        (GOOD, seqpacket.ANCILLARY_DESCRIPTORS + 1, "did not fit"),
        (encode(Run(1, [b"sh"], [], b"/", [], 0)), 3, "absolute"),
        (GOOD, 3, "not a socket"),
    ],
)
def test_what_is_not_a_request_is_refused_and_its_descriptors_closed(
    rig: Rig, data: bytes, count: int, reason: str
) -> None:
    before = rig.descriptors()
    read_end, write_end = os.pipe()
    rig.send(data, [write_end] * count)
    os.close(write_end)
    assert reason in rig.refusal()
    rig.assert_alive()
    assert rig.descriptors() == before
    assert os.read(read_end, 1) == b""  # end-of-file: nobody holds the other end
    os.close(read_end)


def test_a_run_whose_descriptors_are_lost_on_the_way_is_refused_by_its_number(rig: Rig) -> None:
    """Or its task would be told as interrupted, as if it might have run."""
    read_end, write_end = os.pipe()
    rig.send(GOOD, [write_end] * (seqpacket.ANCILLARY_DESCRIPTORS + 1))
    seqpacket.close_all([read_end, write_end])
    refused = rig.line.hear()
    assert isinstance(refused, Refused)
    assert refused.run == 1


def test_outputs_that_are_no_pipes_are_refused(rig: Rig) -> None:
    control, theirs = seqpacket.pair()
    null = os.open("/dev/null", os.O_WRONLY)
    rig.send(GOOD, [theirs.fileno(), null, null])
    theirs.close()
    os.close(null)
    assert "not pipes" in rig.refusal()
    assert rig.line_to(control).hear() is None


def test_a_number_that_is_taken_is_refused(rig: Rig) -> None:
    first = rig.run("sleep 60", number=5)
    assert isinstance(first.hear(), Started)
    second = rig.run("exit 0", number=5)
    assert "number 5 is taken" in rig.refusal()
    assert second.hear() is None


def test_a_run_tells_its_whole_story_and_the_spawner_keeps_nothing(rig: Rig) -> None:
    before = rig.descriptors()
    for number in range(1, 20):
        line = rig.run("exit 3", number)
        assert isinstance(line.hear(), Started)
        ended = line.hear()
        assert isinstance(ended, Ended)
        assert os.waitstatus_to_exitcode(ended.status) == 3
        assert line.hear() == Swept(0, 0, 0)
        assert line.hear() is None
        line.sock.close()
    rig.assert_alive()
    assert rig.descriptors() == before


def test_an_interpreter_that_cannot_be_executed_is_told_with_the_systems_words(rig: Rig) -> None:
    line = rig.run("", argv=[b"/nowhere/sh", b"/dev/null"])
    assert line.hear() == Failed(b"exec /nowhere/sh: No such file or directory")
    assert line.hear() is None


def test_a_directory_that_is_gone_is_told_too(rig: Rig) -> None:
    assert rig.run("", directory=b"/nowhere").hear() == Failed(b"enter /nowhere: No such file or directory")


async def test_hanging_up_on_a_run_ends_it(rig: Rig) -> None:
    line = rig.run("trap '' TERM; setsid sleep 60 & sleep 60")
    assert isinstance(line.hear(), Started)
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: len(processes_of(rig.run_id)) == 3)
        line.sock.close()
        await wait_until(lambda: not processes_of(rig.run_id))
        await wait_until(lambda: not children_of(rig.spawner.pid))
    rig.assert_alive()


async def test_the_orphans_of_a_killed_supervisor_are_killed_and_the_agent_is_told(rig: Rig) -> None:
    innocent = rig.run("sleep 60", number=2)
    assert isinstance(innocent.hear(), Started)
    [bystander] = children_of(rig.spawner.pid)
    rig.run_id, innocent_id = marker(), rig.run_id
    line = rig.run("setsid sleep 60 & sleep 60", number=7)
    assert isinstance(line.hear(), Started)
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: len(processes_of(rig.run_id)) == 3)
    [supervisor] = set(children_of(rig.spawner.pid)) - {bystander}
    os.kill(supervisor, signal.SIGKILL)
    assert line.hear() is None
    assert rig.line.hear() == RunGone(7, 3)
    assert processes_of(rig.run_id) == set()
    assert len(processes_of(innocent_id)) == 2
    assert children_of(rig.spawner.pid) == [bystander]


async def test_a_stopped_supervisor_goes_on_at_once(rig: Rig) -> None:
    line = rig.run("kill -STOP $PPID; exit 5")
    assert isinstance(line.hear(), Started)
    ended = line.hear()
    assert isinstance(ended, Ended)
    assert os.waitstatus_to_exitcode(ended.status) == 5
    assert line.hear() == Swept(0, 0, 0)


async def test_destroy_ends_a_run_whose_supervisor_says_nothing(rig: Rig) -> None:
    line = rig.run("exec sleep 60", number=3)
    assert isinstance(line.hear(), Started)
    rig.send(encode(Destroy(3)))
    assert rig.line.hear() == RunGone(3, 1)
    assert line.hear() is None
    assert processes_of(rig.run_id) == set()


async def test_the_spawners_end_waits_for_the_end_of_its_runs(rig: Rig) -> None:
    line = rig.run("trap '' TERM; (setsid sleep 60 &) ; sleep 60")
    assert isinstance(line.hear(), Started)
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: len(processes_of(rig.run_id)) == 3)
    line.sock.close()
    rig.spawner.close()
    assert processes_of(rig.run_id) == set()


@pytest.mark.long
async def test_a_supervisor_that_does_not_end_when_the_agent_is_gone_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lattice_agent.exec.spawner.WIND_UP_S", 0.1)
    monkeypatch.setattr("lattice_agent.exec.sweep.SWEEP_S", 0.5)
    rig = Rig(fork_spawner(), tmp_path)
    line = rig.run("setsid sleep 60 & sleep 60")
    assert isinstance(line.hear(), Started)
    with trio.fail_after(OUTER_LIMIT_S):
        await wait_until(lambda: len(processes_of(rig.run_id)) == 3)
    rig.spawner.close()  # its control line stays open, so the supervisor has no reason to end
    assert processes_of(rig.run_id) == set()
    assert line.hear() is None
    rig.close()


def test_a_supervisor_has_a_session_of_its_own(rig: Rig) -> None:
    assert isinstance(rig.run("sleep 60").hear(), Started)
    [supervisor] = children_of(rig.spawner.pid)
    assert os.getsid(supervisor) == supervisor
