"""Runs a program for what it prints, and leaves nothing of it behind.

The program leads a session of its own. When it ends, or the caller's deadline does, its process group and whatever
descends from it are killed, and it is reaped. Until then it is a zombie at worst, whose number the kernel gives to
nobody, so that no signal can hit a stranger. Only a daemon gets away: a grandchild in a session of its own whose
parent has already ended.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

STDERR_LIMIT: Final = 4096
"""Bytes of stderr that are kept; the rest is read and dropped, so that the program never waits for us."""

_CHUNK: Final = 65_536


@dataclass(slots=True)
class Capture:
    """The first ``limit`` bytes of an output; ``is_cut`` tells that there was more."""

    limit: int
    content: bytearray = field(default_factory=bytearray)
    is_cut: bool = False

    def take(self, data: bytes) -> None:
        """Keeps what there is room for."""
        room = self.limit - len(self.content)
        self.content += data[:room]
        self.is_cut |= len(data) > room


@dataclass(frozen=True, slots=True)
class Finished:
    """``code`` is the exit status, or minus the signal; meaningless if ``stdout`` was cut, which ends the program."""

    code: int
    stdout: Capture
    stderr: Capture


async def run_bounded(words: Sequence[str], *, stdout_limit: int) -> Finished:
    """Runs ``words`` with an empty stdin and an environment of two variables; ``OSError`` if that cannot be started.

    No shell is involved, and PATH is the agent's own, by which the program is found.
    """
    stdout, stderr = Capture(stdout_limit), Capture(STDERR_LIMIT)
    process = await trio.lowlevel.open_process(
        list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )
    try:
        await _capture_all(process, stdout, stderr)
    finally:
        _kill_all(process.pid)
        with trio.CancelScope(shield=True):  # it has been killed: this ends
            code = await process.wait()
        await _close(process)
    return Finished(code, stdout, stderr)


async def _capture_all(process: trio.Process, stdout: Capture, stderr: Capture) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fill, process.stdout, stdout, nursery.cancel_scope)
        nursery.start_soon(_fill, process.stderr, stderr, None)
        await _wait_unreaped(process.pid)
        _kill_all(process.pid)  # a child in the background would hold the pipes open


async def _fill(stream: trio.abc.ReceiveStream, capture: Capture, too_much: trio.CancelScope | None) -> None:
    while data := await stream.receive_some(_CHUNK):
        capture.take(bytes(data))
        if capture.is_cut and too_much is not None:
            too_much.cancel()


async def _wait_unreaped(pid: int) -> None:
    fd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


async def _close(process: trio.Process) -> None:
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)


def _kill_all(leader: int) -> None:
    """Kills the group of ``leader``, which is not reaped yet, and every descendant that left the group."""
    strays = [*_descendants(leader)]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for pid in strays:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(leader: int) -> Iterator[int]:
    waiting = [leader]
    while waiting:
        children = list(_children(waiting.pop()))
        yield from children
        waiting += children


def _children(pid: int) -> Iterator[int]:
    # The kernel lists the children of each thread by itself, and programs written in Go fork from any of theirs.
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it is gone
            yield from map(int, listing.read_text().split())
