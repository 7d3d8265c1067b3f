"""The synchronous face of the package: one script at a time, no event loop, no trio.

::

    with SandboxClient() as sandbox:
        outcome = sandbox.run("echo hello")

It keeps two cells ready, as the trio face does. From the main thread only: the spawner is its child.
"""

import select
import time
from collections import deque
from itertools import count
from types import TracebackType
from typing import Final

from lattice_agent.errors import SandboxError, SpawnerGoneError
from lattice_agent.exec import blueprint
from lattice_agent.exec.cell_ends import CellEnds, prepare_request, use_request
from lattice_agent.exec.cell_task import GONE_S, KILL_S, CellTask
from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.library import DEFAULT_PROFILE, plan_for
from lattice_agent.exec.outcome import NO_GRACE, Cause, Grace, Outcome
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import Limits, Plan, Profile
from lattice_agent.exec.pool import KEPT
from lattice_agent.exec.requests import (
    FROM_SPAWNER,
    MAX_MESSAGE,
    CellFailed,
    CellGone,
    CellReady,
    KillCell,
    Message,
    Refused,
    TerminateCell,
    decode,
    encode,
)

BUILD_S: Final = 15.0
"""How long ``run`` waits for a cell: the first needs a template, on a machine that may be swapping."""


class SandboxClient:
    """Cells of one profile. Close it, or use it as a context manager: its processes go with it."""

    def __init__(self, profile: Profile = DEFAULT_PROFILE, *, keep: int = KEPT) -> None:
        """Start a spawner and begin to build ``keep`` cells. Raises SandboxError."""
        self._profile = profile
        self._keep = keep
        self._spawner: SpawnerProcess = start_spawner()
        self._numbers = count(1)
        self._ready: deque[CellEnds] = deque()
        self._building: set[int] = set()
        self._gone: dict[int, CellGone] = {}
        self._wanted = 0  # the cell whose end somebody waits for
        self._refill(keep)

    @property
    def spawner_pid(self) -> int:
        """Process id of the spawner."""
        return self._spawner.pid

    def __enter__(self) -> "SandboxClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the spawner and every cell. Blocks until they are gone."""
        while self._ready:
            self._ready.popleft().close()
        self._spawner.close()

    def run(
        self,
        script: str | bytes,
        *,
        interpreter: str = "sh",
        limits: Limits | None = None,
        environment: dict[str, str] | None = None,
        on_output: OnOutput | None = None,
    ) -> Outcome:
        """Run a script to its outcome. Raises SandboxError when it could not be started.

        KeyboardInterrupt and other exceptions end the script before they go on.
        """
        return self.run_plan(plan_for(script, self._profile, interpreter, limits, environment), on_output)

    def run_plan(self, plan: Plan, on_output: OnOutput | None = None) -> Outcome:
        """As ``run``, for a plan that was made for this client's profile."""
        cell = self._take()
        self._wanted = cell.number
        try:
            task = CellTask(plan, cell, blueprint.WORK, on_output)
        except OSError:
            self._send(KillCell(cell.number))
            cell.close()
            raise
        try:
            return self._conduct(task)
        finally:
            if not task.empty:
                self._send(KillCell(cell.number))
            task.close()
            self._gone.pop(cell.number, None)
            self._wanted = 0

    def refill(self, *, wait_s: float = 0.0) -> int:
        """Have cells built until enough are ready, waiting so long at most; how many are ready."""
        self._refill(self._keep)
        deadline = time.monotonic() + wait_s
        while len(self._ready) < self._keep and (left := deadline - time.monotonic()) > 0:
            self._listen(left)
        return len(self._ready)

    def _conduct(self, task: CellTask) -> Outcome:
        number = task.cell.number
        started = time.monotonic()
        task.dispatch()
        task.attend()
        self._send(use_request(number, task.plan.limits, self._successor()))
        cause, grace = self._until_end(task)
        wall_s = time.monotonic() - started
        if task.needs_word(wall_s):
            deadline = time.monotonic() + GONE_S
            while number not in self._gone and (left := deadline - time.monotonic()) > 0:
                self._listen(left)
        end = self._gone.get(number, CellGone(number, 0, 0))
        return task.outcome(
            wall_s,
            cause,
            memory_peak=end.memory_peak,
            memory_hit=bool(end.memory_hit),
            killed=end.killed,
            grace=grace,
        )

    def _until_end(self, task: CellTask) -> tuple[Cause | None, Grace]:
        limits = task.plan.limits
        self._wait(task, limits.wall_s)
        if task.empty:
            return None, NO_GRACE
        asked_at = time.monotonic()
        self._send(TerminateCell(task.cell.number))
        self._wait(task, limits.grace_s)
        expired = not task.empty
        if expired:
            self._send(KillCell(task.cell.number))
            self._wait(task, KILL_S)
        return Cause.TIMEOUT, Grace(time.monotonic() - asked_at, expired)

    def _wait(self, task: CellTask, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not task.empty and (left := deadline - time.monotonic()) > 0:
            task.turn(left)

    def _take(self) -> CellEnds:
        self._listen(0)
        if not self._ready:
            self._refill(max(self._keep, 1))
        deadline = time.monotonic() + BUILD_S
        while not self._ready:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SandboxError(f"no cell was ready within {BUILD_S:.0f} s")
            self._listen(left)
        return self._ready.popleft()

    def _refill(self, wanted: int) -> None:
        while len(self._ready) + len(self._building) < wanted:
            number = next(self._numbers)
            self._send(prepare_request(number, self._profile))
            self._building.add(number)

    def _successor(self) -> int:
        """Number of the cell that takes the place of the one in use; 0 if there are enough."""
        if len(self._ready) + len(self._building) >= self._keep:
            return 0
        number = next(self._numbers)
        self._building.add(number)
        return number

    def _send(self, message: Message) -> None:
        if not seqpacket.send(self._spawner.socket, encode(message)):
            raise SpawnerGoneError("the spawner takes no requests any more", hint="make a new SandboxClient")

    def _listen(self, seconds: float) -> None:
        """Take in what the spawner says, waiting so long at most for the first message."""
        if self._spawner.socket.fileno() < 0:
            raise SpawnerGoneError("this client is closed", hint="make a new SandboxClient")
        if seconds > 0:
            waiting = select.poll()
            waiting.register(self._spawner.socket, select.POLLIN)
            waiting.poll(seconds * 1000)
        while (received := seqpacket.receive(self._spawner.socket, MAX_MESSAGE)) is not None:
            data, passed = received
            if not data:
                raise SpawnerGoneError("the spawner died", hint="make a new SandboxClient")
            self._hear(decode(data, FROM_SPAWNER, len(passed)), passed)

    def _hear(self, message: Message, passed: list[int]) -> None:
        match message:
            case CellReady():
                self._building.discard(message.cell)
                self._ready.append(CellEnds(message.cell, message.controllers, passed))
            case CellFailed():
                self._building.discard(message.cell)
                raise SandboxError(f"cannot build a cell: {message.reason.decode('utf-8', 'replace')}")
            case Refused():
                raise SandboxError(f"the spawner refused: {message.reason.decode('utf-8', 'replace')}")
            case CellGone():
                self._building.discard(message.cell)
                if message.cell == self._wanted:
                    self._gone[message.cell] = message
