"""Cells as their sockets see them: a spawner to be asked, cells in the hand, looks at their processes from outside."""

import os
import select
import shutil
import signal
import socket
import struct
import tempfile
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import prctl
import pyseccomp  # noqa: F401 - loaded here for spawners that are forked and must not look for it as another user
import pytest
import trio

from lattice_agent.exec import cell as cell_module
from lattice_agent.exec import filter_export, spawner, syscalls  # noqa: F401 - as above
from lattice_agent.exec.blueprint import Build
from lattice_agent.exec.cell_ends import CellEnds
from lattice_agent.exec.dispatch import encode_task
from lattice_agent.exec.kernel import files, seqpacket
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.library import DEFAULT_LIMITS, DEFAULT_PROFILE, plan_for
from lattice_agent.exec.plan import Limits, Plan, Profile
from lattice_agent.exec.requests import (
    FROM_SPAWNER,
    MAX_MESSAGE,
    CellGone,
    CellReady,
    KillCell,
    Message,
    PrepareCell,
    Refused,
    decode,
    encode,
)
from lattice_agent.exec.runner import Runner, open_runner
from lattice_agent.exec.step import Step
from tests.hostile.rig import OUTER_LIMIT_S, ForkedProcess, children_of

NOBODY = 65534
ECHO = 999_999
"""A number that no cell has: what is said about it comes after the answers to everything asked before."""
WORK_BYTES, WORK_INODES = 8 << 20, 256
PLAIN = DEFAULT_PROFILE
_ANSWER_S = 10.0
"""No single answer takes this long, on a machine that is busy."""


def limits(**changes: Any) -> Limits:
    """The library's limits with changes, and a short grace."""
    values = {name: getattr(DEFAULT_LIMITS, name) for name in DEFAULT_LIMITS.__dataclass_fields__}
    return Limits(**(values | {"grace_s": 0.3} | changes))


def a_plan(script: str | bytes, profile: Profile = PLAIN, interpreter: str = "sh", **changes: Any) -> Plan:
    """A plan of the library with other limits."""
    return plan_for(script, profile, interpreter, limits(**changes))


# --- the spawner as its socket sees it ---


class CellLine:
    """A spawner that is asked for cells by hand. Whatever it hands over is closed with it."""

    def __init__(self, process: SpawnerProcess) -> None:
        self.spawner = process
        self.spawner.socket.settimeout(_ANSWER_S)
        self._numbers = count(1000)  # below are those that tests choose
        self._cells: list[CellEnds] = []

    def close(self) -> None:
        """Hang up, and wait for the spawner's end."""
        for cell in self._cells:
            cell.close()
        self._cells.clear()
        self.spawner.close()

    def forget(self) -> bool:
        """Close every cell that was handed over; whether the spawner is then without cells."""

        def empty() -> bool:
            self.answers()  # also takes in what is still handed over
            for cell in self._cells:
                cell.close()
            self._cells.clear()
            return not children_of(self.spawner.pid)

        try:
            settled(empty)
        except AssertionError:
            return False
        self.answers()  # the last end may have been told after the last look
        return True

    def send(self, *messages: Message) -> None:
        """Ask for these things in this order."""
        for message in messages:
            self.spawner.socket.send(encode(message))

    def hear(self) -> Message | CellEnds:
        """The next message; a cell that is ready comes as its ends."""
        [readable, _, _] = select.select([self.spawner.socket], [], [], _ANSWER_S)
        assert readable, "the spawner says nothing"
        received = seqpacket.receive(self.spawner.socket, MAX_MESSAGE)
        assert received is not None
        data, passed = received
        assert data, "the spawner hung up"
        message = decode(data, FROM_SPAWNER, len(passed))
        if isinstance(message, CellReady):
            self._cells.append(CellEnds(message.cell, message.controllers, passed))
            return self._cells[-1]
        return message

    def answers(self, *messages: Message) -> list[Message | CellEnds]:
        """What is said at once to these requests; cells that are built later are not waited for."""
        self.send(*messages, KillCell(ECHO))
        heard: list[Message | CellEnds] = []
        while (message := self.hear()) != CellGone(ECHO, 0, 0):
            heard.append(message)
        return heard

    def request(self, number: int | None = None, **changes: Any) -> PrepareCell:
        """A request for a cell of level strict, with changes."""
        values: dict[str, Any] = {
            "cell": next(self._numbers) if number is None else number,
            "level": b"strict",
            "network": 0,
            "read_only": [],
            "writable": [],
            "work_bytes": WORK_BYTES,
            "work_inodes": WORK_INODES,
            "directory": b"",
        }
        return PrepareCell(**(values | changes))

    def cell(self, number: int | None = None, **changes: Any) -> CellEnds:
        """A cell that is ready."""
        self.send(self.request(number, **changes))
        cell = self.hear()
        assert isinstance(cell, CellEnds), cell
        return cell

    def end(self, cell: CellEnds) -> CellGone:
        """Kill the cell; what is said about its end."""
        self.send(KillCell(cell.number))
        gone = self.hear()
        assert isinstance(gone, CellGone), gone
        assert gone.cell == cell.number
        return gone

    def descriptors(self) -> list[str]:
        """What the spawner has open, each as the kernel describes it."""
        found = []
        for entry in Path(f"/proc/{self.spawner.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(os.readlink(entry))
        return sorted(found)


@contextmanager
def a_cell_line(process: SpawnerProcess | None = None) -> Iterator[CellLine]:
    """A spawner (a started one, or one of its own) to be asked."""
    line = CellLine(start_spawner() if process is None else process)
    try:
        yield line
    finally:
        line.close()


def refusal(answers: list[Message | CellEnds]) -> str:
    """Why the only request was refused."""
    [answer] = answers
    assert isinstance(answer, Refused), answer
    return answer.reason.decode()


def start(cell: CellEnds, script: str, *arguments: str, interpreter: str = "/bin/sh") -> None:
    """Make a script of the cell, by hand: no limits, no environment but PATH."""
    argv = [interpreter, "-c", script, "name", *arguments]
    message = encode_task([item.encode() for item in argv], [b"PATH=/usr/bin:/bin"], [])
    cell._control.send(message)


def heard_from(cell: CellEnds, expected: bytes) -> None:
    """Wait until the script has written so on its standard output."""
    heard = b""
    while not heard.endswith(expected):
        assert select.select([cell.stdout], [], [], _ANSWER_S)[0], f"{heard!r} is not {expected!r}"
        piece = os.read(cell.stdout, 65_536)
        assert piece, f"{heard!r} is not {expected!r}"
        heard += piece


def ended(cell: CellEnds) -> None:
    """Wait until nothing lives in the cell."""
    assert select.select([cell.pidfd], [], [], _ANSWER_S)[0], "the cell lives on"


def settled(look: Callable[[], object]) -> None:
    """Until the look is true; fails after a while. Looks, because /proc sends no events."""
    deadline = time.monotonic() + _ANSWER_S
    while not look():
        assert time.monotonic() < deadline, "it does not come to be"
        time.sleep(0.002)


# --- forked spawners: with patched steps, or another uid ---


def fork_spawner_as(uid: int, groups: Sequence[int] = (), before: Callable[[], None] | None = None) -> SpawnerProcess:
    """A spawner without an exec, that has what the test has patched; of another user unless that is 0.

    ``before``: called in it while it is root.
    """
    ours, theirs = seqpacket.pair()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            if before is not None:
                before()
            if uid:
                os.setgroups(list(groups))
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                prctl.set_dumpable(1)
            spawner.main(socket.socket.detach(theirs))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    return SpawnerProcess(ForkedProcess(pid), ours)  # type: ignore[arg-type]  # duck of Popen


@contextmanager
def a_reachable_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Spawners that are forked find native/cell at a place that every user may enter."""
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        native = place / "native"
        native.mkdir(mode=0o755)
        shutil.copy(Path(cell_module.__file__).parent / "native" / "cell", native / "cell")
        monkeypatch.setattr(cell_module, "__file__", os.fspath(place / "cell.py"))
        yield
    finally:
        shutil.rmtree(place)


@contextmanager
def a_place() -> Iterator[Path]:
    """A directory that cells can be shown: not below /tmp, of which they have their own, and open to every user."""
    place = Path(tempfile.mkdtemp(dir="/opt"))
    try:
        place.chmod(0o755)
        yield place
    finally:
        shutil.rmtree(place)


class Hold:
    """A step in which whoever carries it out stays until it is released: ``with a_hold() as hold``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._released = -1
        self.step = Step("hold", self._stay, "waits for the test", "to look at what is half-built")
        """For a template, whose maker carries it out by itself."""
        self.written_step = Step("hold", self._write_down, self.step.describe(None), self.step.reason)
        """For a cell, whose steps are written down."""

    def _stay(self, _values: object) -> None:
        os.close(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))

    def _write_down(self, build: Build) -> None:
        call = build.recipe.call
        call("close", call("openat", files.AT_FDCWD, self._path.encode(), os.O_RDONLY | os.O_CLOEXEC, 0))

    def release(self) -> None:
        """Let everybody through, now and later."""
        self._released = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def again(self) -> None:
        """Hold whoever comes from now on."""
        if self._released >= 0:
            os.close(self._released)
        self._released = -1


@contextmanager
def a_hold() -> Iterator[Hold]:
    """A hold for processes of any user."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        path = os.path.join(place, "hold")
        os.mkfifo(path)
        os.chmod(path, 0o666)
        hold = Hold(path)
        try:
            yield hold
        finally:
            hold.again()


# --- the trio side ---


@asynccontextmanager
async def a_cell_runner(keep_ready: Profile | None = None) -> AsyncGenerator[Runner, None]:
    """A runner on a spawner of its own, under the outer limit."""
    process = start_spawner()
    with trio.fail_after(OUTER_LIMIT_S):
        async with open_runner(process, keep_ready=keep_ready) as runner:
            yield runner


# --- looks at a cell's processes ---


def children_if_any(pid: int) -> list[int]:
    """The children of a process that may be gone."""
    try:
        return children_of(pid)
    except (FileNotFoundError, ProcessLookupError):
        return []


def runs_a_script(init: int) -> bool:
    """Whether something lives in a cell that is not the waiting launcher."""
    for pid in children_if_any(init):
        with suppress(OSError):
            if "lattice-cell" not in Path(f"/proc/{pid}/cmdline").read_text():
                return True
    return False


def init_of(cell: CellEnds) -> int:
    """Process id of the cell's init, from its pidfd."""
    for line in Path(f"/proc/self/fdinfo/{cell.pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise AssertionError("no pidfd")


def its_init_listens(cell: CellEnds) -> None:
    """Wait until the cell's init handles its signals: a moment after the cell is ready."""
    settled(lambda: int(status_of(init_of(cell))["SigCgt"], 16) & 1 << (signal.SIGUSR2 - 1))


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/<pid>/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors_of(pid: int) -> dict[int, str]:
    """Number and target of everything a process has open."""
    return {int(entry.name): os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}


# --- in a process of one's own ---


def apart(story: Callable[[], bytes | str | None]) -> str:
    """What the story returns when it is told in a fork with one thread. Fails when it raises or takes too long.

    For everything that changes the process itself: its namespaces, mounts, ids, capabilities.
    """
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(OUTER_LIMIT_S)
            told = story() or b""
            os.write(ours, told.encode() if isinstance(told, str) else told)  # at most what a pipe holds
            code = 0
        except BaseException:
            os.write(ours, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(ours)
    with open(theirs, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"ended with {status}\n{told.decode()}"
    return told.decode()


# --- a cell without a cell ---


class StagedCell:
    """Ends whose other side is played by the test: for what a cell cannot be brought to say."""

    def __init__(self, number: int = 7) -> None:
        ours, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.script, script = os.pipe()
        status, self.status = os.pipe()
        stdout, self.stdout = os.pipe()
        stderr, self.stderr = os.pipe()
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.dup2(tell, 3)
                os.closerange(4, 65_536)
                os.close(3)
                signal.pause()
            finally:
                os._exit(0)
        os.close(tell)
        os.read(told, 1)  # its end-of-file: the child holds none of these descriptors any more
        os.close(told)
        self.passed = [ours.detach(), script, status, stdout, stderr, os.pidfd_open(self.pid)]
        self.number = number
        self._ends: CellEnds | None = None
        self._alive = True

    @property
    def ends(self) -> CellEnds:
        """What the agent makes of the descriptors; without it they belong to whoever got ``passed``."""
        if self._ends is None:
            self._ends = CellEnds(self.number, [], self.passed)
        return self._ends

    def abandoned(self) -> bool:
        """Whether nobody holds the agent's end of the output any more."""
        poll = select.poll()
        poll.register(self.stdout, 0)
        return bool(poll.poll(0))

    def write_record(self, status: int = 0, killed: int = 0, cpu_us: int = 0, max_rss_kib: int = 0) -> None:
        """As the init does at its end."""
        os.write(self.status, struct.pack("=iIQQ", status, killed, cpu_us, max_rss_kib))

    def die(self) -> None:
        """The init's end; nobody writes any more."""
        self._alive = False
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.status)
        self.status = -1

    def close(self) -> None:
        """Give everything of both sides back."""
        if self._alive:
            self.die()
        self.control.close()
        for fd in (self.script, self.stdout, self.stderr):
            os.close(fd)
        if self._ends is not None:
            self._ends.close()


@contextmanager
def a_staged_cell(number: int = 7) -> Iterator[StagedCell]:
    """A staged cell that is closed in the end."""
    staged = StagedCell(number)
    try:
        yield staged
    finally:
        staged.close()
