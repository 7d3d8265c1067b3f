"""The supervisor: one small process per run at level ``host``, forked from the spawner.

Who is who, by parent: agent -> spawner -> supervisor -> main process -> whatever the script starts.

The supervisor is a child subreaper in a session of its own: orphans of its run become its children and of nobody else,
so those of two runs are never mixed up. It holds one end of a control socket whose other end the agent holds, and
nothing else of the agent's; it talks to no one else. It blocks every signal that can be blocked, because the script
has its uid. SIGSTOP and SIGKILL by the script cannot be prevented at this level: against the first the spawner sends
SIGCONT at once, after the second the spawner inherits the orphans and kills them, and the agent learns of it by the
end-of-file of the control socket (``spawner``). It survives the death of the spawner: the agent, which notices, tells
it to kill; if the agent is dead too, the end-of-file of the control socket says the same.

What the agent hears, in this order: ``Started`` or ``Failed``; ``Ended`` when the main process ended; ``Swept`` when
what it left is dead; ``LingerOver`` if something was spared. What it can say: ``Terminate``, ``Kill``; hanging up means
Kill.

Life of a run:

* *running* until the main process ends or a Kill comes. A Terminate sends SIGTERM to the whole tree; when the main
  process then ends, the rest has what is left of the agent's grace, until it is gone or a Kill comes;
* *sweeping* (``sweep``): everything is killed but, with ``linger_ms``, what has left the main session by setsid(2);
* *lingering* until those are gone, their time is over or a Kill comes; then they are swept too.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable

import prctl

from lattice_agent.exec import script, sweep
from lattice_agent.exec.kernel import descriptors, proctree, seqpacket, signals
from lattice_agent.exec.kernel.proctree import Process
from lattice_agent.exec.kernel.wait import ANY_CHILD
from lattice_agent.exec.requests import (
    MAX_MESSAGE,
    TO_SUPERVISOR,
    Ended,
    Failed,
    Kill,
    LingerOver,
    Message,
    RefusedMessageError,
    Run,
    Started,
    Swept,
    Terminate,
    decode,
    encode,
)

TERMINATING_TICK_MS = 20
"""How often the tree is looked at after a Terminate: the end of a grandchild gives no signal here."""
SETTLE_MS = 50
"""Where lingering is allowed: a process that the script started last may be on its way to setsid(2) and gets this long
(``setsid watchdog &`` as a script's last line); only then what is still in the main session is killed."""
SETTLE_TICK_MS = 2
REAP_TURN = 512
"""Dead children collected in one turn, so that a fork chain cannot keep the supervisor from its control socket."""


def supervise(run: Run, control: socket.socket, stdout: int, stderr: int) -> bool:
    """The whole life of a supervisor, in a fresh fork of the spawner. False when something may have been left."""
    os.setsid()
    prctl.set_name("lattice-run")
    prctl.set_child_subreaper(1)
    watch = signals.ChildWatch()
    descriptors.keep_only({0, 1, 2, control.fileno(), stdout, stderr, *watch.descriptors()})
    return Supervisor(run, control, watch).run(stdout, stderr)


class Supervisor:
    """See the module's text. One object, one run."""

    def __init__(self, run: Run, control: socket.socket, watch: signals.ChildWatch) -> None:
        self._run = run
        self._control = control
        self._watch = watch
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(watch, select.POLLIN)
        self._pid = os.getpid()
        self._main = 0
        self._started_ns = 0
        self._ended = False
        self._terminated = False
        self._killed = False
        self._everything = run.linger_ms == 0
        self._childless = False

    def run(self, stdout: int, stderr: int) -> bool:
        """Start, watch, sweep, linger; False when a sweep hit its bound."""
        self._started_ns = time.monotonic_ns()
        try:
            self._main = script.start(self._run, stdout, stderr)
        except script.StartError as error:
            self._tell(Failed(str(error).encode()))
            return True
        finally:
            os.close(stdout)
            os.close(stderr)
        self._tell(Started(self._main))
        self._serve(lambda: self._ended or self._killed)
        if self._terminated:
            self._serve(lambda: self._killed or not self._any_target(), tick_ms=TERMINATING_TICK_MS)
        elif not self._everything:
            self._settle()
        certain, lingering = self._sweep_and_tell()
        if lingering:
            certain = self._linger() and certain
        return certain

    # --- phases ---

    def _settle(self) -> None:
        deadline = time.monotonic_ns() + SETTLE_MS * 1_000_000
        self._serve(
            lambda: self._killed or time.monotonic_ns() > deadline or not self._any_target(), tick_ms=SETTLE_TICK_MS
        )

    def _sweep_and_tell(self) -> tuple[bool, int]:
        killed, certain = self._sweep()
        lingering = 0 if self._everything else self._count_alive()
        self._tell(Swept(killed, lingering, int(not certain)))
        return certain, lingering

    def _linger(self) -> bool:
        deadline = time.monotonic_ns() + self._run.linger_ms * 1_000_000
        self._serve(
            lambda: self._everything or self._childless or time.monotonic_ns() > deadline,
            tick_ms=self._run.linger_ms,
        )
        self._everything = True
        killed, certain = self._sweep()
        self._tell(LingerOver(killed, int(not certain)))
        return certain

    def _sweep(self) -> tuple[int, bool]:
        """Processes killed besides the main one, and whether it is certain that none is left but the spared."""
        sparing = not self._everything
        main_was_running = not self._ended
        work = sweep.Sweep(self._pid, reap=lambda: self._reap() or sparing, spares=self._spares)
        certain = sweep.finish(work, self._pause)
        return work.killed - (main_was_running and self._ended), certain

    # --- the tree ---

    def _spares(self, process: Process) -> bool:
        return not self._everything and process.session != self._main

    def _any_target(self) -> bool:
        targets = sweep.targets_below(self._pid, (), self._spares)
        proctree.close(targets)
        return any(target.running() for target in targets)

    def _count_alive(self) -> int:
        processes = proctree.look(self._pid)
        proctree.close(processes)
        return sum(process.running() for process in processes)

    def _terminate(self) -> None:
        self._terminated = True
        targets = sweep.targets_below(self._pid, (), self._spares)
        for target in targets:
            target.send(signal.SIGTERM)
            target.send(signal.SIGCONT)  # a stopped process would keep the SIGTERM pending
        proctree.close(targets)

    def _reap(self) -> bool:
        """Collect dead children; True when there is no child left, dead or alive."""
        for _ in range(REAP_TURN):
            try:
                pid, status, usage = os.wait4(-1, ANY_CHILD)
            except ChildProcessError:
                self._childless = True
                return True
            if pid == 0:
                return False
            if pid == self._main and not self._ended:
                self._ended = True
                cpu_us = int((usage.ru_utime + usage.ru_stime) * 1e6)
                wall_us = (time.monotonic_ns() - self._started_ns) // 1000
                self._tell(Ended(status, wall_us, cpu_us, usage.ru_maxrss))
        return False

    # --- waiting and talking ---

    def _serve(self, over: Callable[[], bool], tick_ms: int | None = None) -> None:
        """Reap and listen until ``over()``, which is asked after every event and at least every ``tick_ms``."""
        self._reap()
        while not over():
            ready = {fd for fd, _ in self._poll.poll(tick_ms)}
            if self._watch.fileno() in ready:
                self._watch.clear()
            self._reap()
            if self._control.fileno() in ready:
                self._hear()

    def _pause(self, milliseconds: int) -> None:
        """During a sweep only the death of a child is of interest."""
        select.select([self._watch], [], [], milliseconds / 1000)
        self._watch.clear()

    def _hear(self) -> None:
        try:
            received = seqpacket.receive(self._control, MAX_MESSAGE)
            if received is None:
                return
            data, passed = received
            seqpacket.close_all(passed)
            if not data:
                self._hung_up()
                return
            self._obey(decode(data, TO_SUPERVISOR, len(passed)))
        except (seqpacket.CutMessageError, RefusedMessageError):
            return  # nothing that the agent sends; ignoring it is the refusal

    def _hung_up(self) -> None:
        self._poll.unregister(self._control)
        self._everything = self._killed = True

    def _obey(self, message: Message) -> None:
        if isinstance(message, Terminate | Kill):
            self._everything = self._everything or bool(message.everything)
        if isinstance(message, Terminate):
            self._terminate()
        elif isinstance(message, Kill):
            self._killed = True

    def _tell(self, message: Message) -> None:
        # A failed send means that the agent is gone: poll tells that as an end-of-file.
        seqpacket.send(self._control, encode(message))
