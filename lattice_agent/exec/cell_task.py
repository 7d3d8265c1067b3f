"""One task in one cell, without any waiting: what both faces of the package do when something happened.

The end is the init's pidfd: it becomes readable when every process of the cell is dead and reaped. No end-of-file of a
pipe is waited for. Whoever waits does it on ``events``, one descriptor for everything, and then calls ``turn``.
"""

import os
import select
import signal
from typing import Final

from lattice_agent.exec.cell_ends import CellEnds, usage_of
from lattice_agent.exec.memory_watch import INTERVAL_MS
from lattice_agent.exec.outcome import NO_GRACE, Cause, Grace, Outcome, Sweeping, failed_to_start, judge
from lattice_agent.exec.output_stream import OnOutput, OutputStream, listener
from lattice_agent.exec.plan import Plan

KILL_S: Final = 10.0
"""From KillCell to an empty cell: the kernel's work alone."""
GONE_S: Final = 5.0
"""For the spawner's word about a cell that is already empty."""


class CellTask:
    """Owns a cell's ends from the dispatch to the outcome; ``close`` has to follow."""

    def __init__(self, plan: Plan, cell: CellEnds, directory: str, on_output: OnOutput | None = None) -> None:
        self.plan = plan
        self.cell = cell
        self._directory = directory
        self.empty = False
        """No process is left."""
        # Before anything is taken: this is what fails where no descriptor is left.
        self.events = select.epoll(select.EPOLL_CLOEXEC)
        """Readable when ``turn`` has something to do."""
        stdout, stderr = cell.take_streams()
        limit = plan.limits.output_bytes
        self._stdout = OutputStream(stdout, limit, listener(on_output, "stdout"))
        self._stderr = OutputStream(stderr, limit, listener(on_output, "stderr"))
        self.events.register(cell.pidfd, select.EPOLLIN)
        self._writers: list[int] = []
        self._streams = {stdout: self._stdout, stderr: self._stderr}

    def dispatch(self) -> None:
        """Give the waiting launcher its task. Raises SandboxError or OSError if the cell cannot take it."""
        self.cell.dispatch(self.plan, self._directory)

    def attend(self) -> None:
        """Get ready for output, while the launcher executes the interpreter."""
        for fd in self._streams:
            self.events.register(fd, select.EPOLLIN)
        # Writers of our own: else the pipes' end-of-file would wake us a moment before the cell is empty.
        self._writers = [fd for fd in map(_writer, self._streams) if fd is not None]

    def turn(self, timeout_s: float = 0.0) -> None:
        """Take in what has happened; waits for it at most so long."""
        for fd, _events in self.events.poll(timeout_s):
            stream = self._streams.get(fd)
            if stream is None:
                self.empty = True
            elif not stream.take():
                self.events.unregister(fd)

    def needs_word(self, wall_s: float) -> bool:
        """Whether the spawner knows something about the end: it has looked at the cell's memory, or killed it.

        It may look at any moment when it watches other cells as well; without namespaces the init lives on to tell.
        """
        record = self.cell.record() if self.empty else None
        return wall_s * 1000 > INTERVAL_MS or record is None or _was_killed(record.status)

    def outcome(
        self,
        wall_s: float,
        cause: Cause | None,
        *,
        memory_peak: int,
        memory_hit: bool,
        killed: int = 0,
        grace: Grace = NO_GRACE,
        spawner_died: bool = False,
    ) -> Outcome:
        """How it ended. ``cause``: why we ended it, if we did; ``memory_*`` and ``killed`` are the spawner's word
        (CellGone)."""
        self._stdout.take_rest()
        self._stderr.take_rest()
        record = self.cell.record() if self.empty else None
        if record is not None and (failure := self.cell.start_failure()):
            return failed_to_start(self.plan.level, f"exec {self.plan.interpreter_path}: {failure}")
        if memory_hit:
            cause = Cause.MEMORY
        elif cause is None and spawner_died and (record is None or _was_killed(record.status)):
            cause = Cause.SPAWNER_GONE
        elif cause is None and record is None:
            cause = Cause.CELL_KILLED
        return judge(
            self.plan.level,
            self.plan.limits,
            usage=usage_of(record, wall_s, memory_peak) if record else None,
            cause=cause,
            stdout=self._stdout.captured(),
            stderr=self._stderr.captured(),
            # An init that is killed tells nothing, and one that kills misses those that end before the main process.
            sweeping=Sweeping(max(record.killed if record else 0, killed), uncertain=not self.empty),
            grace=grace,
            wall_s=wall_s,
            memory_peak=memory_peak,
        )

    def close(self) -> None:
        """Give back every descriptor."""
        self.events.close()
        for fd in self._writers:
            os.close(fd)
        self._stdout.close()
        self._stderr.close()
        self.cell.close()


def _was_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _writer(read_end: int) -> int | None:
    """Another write end of a pipe; None where the pipe's owner does not let us have one."""
    try:
        return os.open(f"/proc/self/fd/{read_end}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
