"""The spawner: the one process that starts things. A fresh interpreter beside the agent, never a fork of it.

Theory of operation
===================

    agent (trio, network, token)
      |  SOCK_SEQPACKET: Run, Destroy  ->     <- Refused, RunGone
      |                                         +--------------------- control socket, one per run ------------+
    spawner (this file: single thread, one poll loop)                                                         |
      |  fork                                                                                                  |
    supervisor (``host_run``, one per run)  <----------------------------------------------------------------+
      |  fork, exec (``script``)
    main process of the script

* It is started before the agent has read its token or opened a connection (``launch``), with an empty environment,
  standard input and output on /dev/null, standard error for log lines, and one socket. It holds nothing secret, so
  a script that reads its memory or environment finds nothing. It imports the standard library, python-prctl and its own
  modules of this package, everything before the first fork, and freezes the garbage collector so that forks share
  its pages.
* It answers a table of typed requests. A message that is not exactly one of them is refused and its descriptors are
  closed.
* It forks a supervisor per run, gives it the control socket and the script's pipes, and closes its own copies: the
  agent and the supervisor then talk directly. The spawner is not in the path of a result.
* It reaps supervisors. One that ended well has swept its run. One that did not (a script killed it: they share a
  uid; or its sweep hit the bound) leaves orphans, which the kernel hands to the spawner, a subreaper too. The spawner's
  children are known supervisors or such orphans, nothing else; orphans are swept step by step between requests, and
  then the agent is told (``RunGone``). An orphan that dies unknown starts the sweep again, so a fork chain is not
  forgotten. A supervisor that was *stopped* is continued at once.
* End-of-file of its socket means that the agent is gone. Every supervisor sees the same on its control socket and
  ends its run; the spawner waits for them, kills those that don't come to an end, sweeps and exits.
* Signals but SIGKILL and SIGSTOP are blocked. If a script kills the spawner itself, supervisors live on (they depend
  on the agent alone), the agent tells them to end their runs, and starts a new spawner. A script that kills supervisor
  and spawner in one go can leave processes behind at this level; level ``strict`` is for scripts that fight.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable

import prctl

from lattice_agent.exec import host_run, sweep
from lattice_agent.exec.cells import Cells
from lattice_agent.exec.kernel import descriptors, seqpacket, signals
from lattice_agent.exec.kernel.wait import ANY_CHANGE
from lattice_agent.exec.requests import (
    MAX_MESSAGE,
    TO_SPAWNER,
    Destroy,
    KillCell,
    Message,
    PrepareCell,
    Refused,
    RefusedMessageError,
    Run,
    RunGone,
    TerminateCell,
    UseCell,
    check_run,
    decode,
    encode,
    number_in,
    number_of,
)

MOST_RUNS = 128
"""Supervisors at once; a Run beyond is refused. Far above any number of slots."""
ORPHAN_TICK_MS = 10
"""Pause between two steps of an orphan sweep; requests are answered in between."""
WIND_UP_S = 2.0
"""After the agent's end: how long supervisors get to end their runs by themselves, on top of their sweep's bound."""
_REASON_BYTES = 512


def main(fd: int) -> None:
    """Set the process up and serve the socket ``fd`` until its other end is closed."""
    descriptors.keep_only({0, 1, 2, fd})
    signals.block_all_but_sigchld()
    signals.reset_ignored()
    prctl.set_name("lattice-spawn")
    # Not dumpable: a script of the same uid cannot attach a debugger here; its own exec makes it dumpable again.
    prctl.set_dumpable(0)
    prctl.set_child_subreaper(1)
    gc.collect()
    gc.disable()
    gc.freeze()
    Spawner(socket.socket(fileno=fd)).serve()


class Spawner:
    """See the module's text."""

    def __init__(self, agent: socket.socket) -> None:
        self._agent = agent
        self._watch = signals.ChildWatch()
        self._poll = select.poll()
        self._poll.register(agent, select.POLLIN)
        self._poll.register(self._watch, select.POLLIN)
        self._pid = os.getpid()
        self._runs: dict[int, int] = {}  # supervisor's process id -> run; bounded by MOST_RUNS
        self._lost: list[int] = []  # runs whose orphans are being swept; bounded by MOST_RUNS per sweep
        self._orphans: sweep.Sweep | None = None
        self.cells = Cells(self._poll, self._tell)
        self._ours = _Ours(self._runs, self.cells)

    def serve(self) -> None:
        """Answer requests and reap until the agent is gone; then end everything and return."""
        while self._turn(ORPHAN_TICK_MS if self._orphans else self.cells.interval_ms):
            pass
        self._wind_up()

    def _turn(self, timeout_ms: int | None) -> bool:
        """Wait for an event and deal with it; False when the agent hung up."""
        ready = {fd for fd, _ in self._poll.poll(timeout_ms)}
        if self._watch.fileno() in ready:
            self._watch.clear()
            self._reap()
        self.cells.hear(ready)
        self.cells.watch()
        if self._orphans is not None and not self.cells.expecting:  # a maker that nobody has told of looks like one
            self._sweep_orphans(self._orphans)
        return self._agent.fileno() not in ready or self._hear()

    # --- requests ---

    def _hear(self) -> bool:
        """Carry out one request; False at end-of-file."""
        passed: list[int] = []
        run = 0
        try:
            received = seqpacket.receive(self._agent, MAX_MESSAGE)
            if received is None:
                return True
            data, passed = received
            if not data:
                return False
            message = decode(data, TO_SPAWNER, len(passed))
            run = number_of(message)
            HANDLERS[type(message)](self, message, passed)
        except seqpacket.CutMessageError as error:  # we may have no descriptor left: whose run it was is said
            self._tell(Refused(number_in(error.data, TO_SPAWNER), str(error).encode()))
        except RefusedMessageError as error:
            self._tell(Refused(run, str(error).encode()[:_REASON_BYTES]))
        except OSError as error:
            # fork failed (EAGAIN, ENOMEM), there is no descriptor left, or a limit could not be set.
            self._tell(Refused(run, f"cannot be carried out: {error.strerror}".encode()))
        finally:
            # Also those of a Run that was carried out: the supervisor has its own copies now.
            seqpacket.close_all(passed)
        return True

    def _start_run(self, message: Message, passed: list[int]) -> None:
        assert isinstance(message, Run)
        check_run(message)
        _check_descriptors(passed)
        if len(self._runs) >= MOST_RUNS or message.run in self._runs.values():
            raise RefusedMessageError(f"Run: {len(self._runs)} runs now, or number {message.run} is taken")
        pid = os.fork()
        if pid == 0:
            _be_supervisor(message, passed)
        self._runs[pid] = message.run

    def _destroy(self, message: Message, _passed: list[int]) -> None:
        assert isinstance(message, Destroy)
        for pid, run in self._runs.items():
            if run == message.run:
                os.kill(pid, signal.SIGKILL)  # our own child, not reaped yet: the id is its own
                return
        if message.run not in self._lost:
            self._tell(RunGone(message.run, 0))

    # --- children ---

    def _reap(self) -> bool:
        """Collect what ended, continue what was stopped; True when no orphan is left to be reaped."""
        while True:
            try:
                change = os.waitid(os.P_ALL, 0, ANY_CHANGE)
            except ChildProcessError:
                return True
            if change is None:
                return True
            run = self._runs.get(change.si_pid)
            if change.si_code == os.CLD_STOPPED:
                if run is not None:
                    os.kill(change.si_pid, signal.SIGCONT)
                continue
            if self.cells.ended(change.si_pid):
                continue
            if run is None or (change.si_code, change.si_status) != (os.CLD_EXITED, 0):
                self._expect_orphans(run)
            self._runs.pop(change.si_pid, None)

    def _expect_orphans(self, run: int | None) -> None:
        if run is not None:
            self._lost.append(run)
        if self._orphans is None:
            self._orphans = sweep.Sweep(self._pid, reap=self._reap, skip=self._ours)

    def _sweep_orphans(self, orphans: sweep.Sweep) -> None:
        """One step; the agent is told once nothing is left. Unbounded in number: a step per tick blocks nobody."""
        if not orphans.step():
            return
        self._orphans = None
        lost, self._lost = self._lost, []
        for number, run in enumerate(lost):
            self._tell(RunGone(run, orphans.killed if number == 0 else 0))

    def _wind_up(self) -> None:
        """The agent is gone: every run ends, by itself or by force."""
        self._poll.unregister(self._agent)
        self.cells.kill_all()
        self._serve_until(lambda: not self._runs and not self.cells.any, sweep.SWEEP_S + WIND_UP_S)
        for pid in self._runs:
            os.kill(pid, signal.SIGKILL)
        self._serve_until(lambda: not self._runs, WIND_UP_S)
        last = sweep.Sweep(self._pid, reap=self._reap, skip=self._runs)
        sweep.finish(last, lambda ms: self._serve_until(lambda: False, ms / 1000))
        self.cells.close()

    def _serve_until(self, over: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not over() and (left := deadline - time.monotonic()) > 0:
            self._turn(min(ORPHAN_TICK_MS, int(left * 1000) + 1) if self._orphans else int(left * 1000) + 1)

    def _tell(self, message: Message, descriptors: list[int] | None = None) -> None:
        # A full queue means an agent that does not read: it bounds its own waits, so the message may be lost.
        seqpacket.send(self._agent, encode(message), descriptors or [])


class _Ours:
    """The spawner's children by intention, whatever they are for; all others are orphans."""

    def __init__(self, runs: dict[int, int], cells: Cells) -> None:
        self._runs = runs
        self.cells = cells

    def __contains__(self, pid: object) -> bool:
        return pid in self._runs or pid in self.cells


HANDLERS: dict[type[Message], Callable[[Spawner, Message, list[int]], None]] = {
    Run: Spawner._start_run,
    Destroy: Spawner._destroy,
    PrepareCell: lambda spawner, message, passed: spawner.cells.prepare(message, passed),
    UseCell: lambda spawner, message, passed: spawner.cells.use(message, passed),
    TerminateCell: lambda spawner, message, passed: spawner.cells.terminate(message, passed),
    KillCell: lambda spawner, message, passed: spawner.cells.kill(message, passed),
}
"""The table of requests. Those about runs are allowed at any time; in which state those about cells are, ``cells``
says."""


def _check_descriptors(passed: list[int]) -> None:
    """Raise unless they are a control socket and two pipes: a script must not be handed anything else."""
    control, stdout, stderr = passed
    if not stat.S_ISSOCK(os.fstat(control).st_mode):
        raise RefusedMessageError("Run: the first descriptor is not a socket")
    if not all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in (stdout, stderr)):
        raise RefusedMessageError("Run: the output descriptors are not pipes")


def _be_supervisor(run: Run, passed: list[int]) -> None:
    """The fork's side; never returns. Exit status 0 says that nothing is left of the run."""
    control, stdout, stderr = passed
    certain = False
    try:
        certain = host_run.supervise(run, socket.socket(fileno=control), stdout, stderr)
    except BaseException:  # noqa: BLE001 - a fork must not return into the spawner's loop, whatever happens
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0 if certain else 1)
