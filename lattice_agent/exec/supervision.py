"""The agent's side of one run at level ``host``: starts it, keeps its clocks, and sees its tree gone.

The supervisor (``host_run``) says what happens, this side decides what to do about it. Every wait has a bound, because
a script may stop or kill its supervisor, and each bound leads one step further down:

    running    until Ended, the wall clock, or ``end``        -> Terminate
    grace      until Swept, or ``grace_s``                    -> Kill
    killing    until Swept, or KILL_S                         -> Destroy, by the spawner
    destroying until RunGone, or DESTROY_S                    -> the spawner is replaced, the outcome is "uncertain"

End-of-file from the supervisor before Swept leads straight to waiting for RunGone: somebody killed it, and the spawner
sweeps its orphans.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import trio

from lattice_agent.errors import SandboxError, SpawnerGoneError
from lattice_agent.exec.channels import Channels, run_request
from lattice_agent.exec.outcome import NO_GRACE, Cause, Grace, Outcome, Sweeping, Usage, failed_to_start, judge
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import Plan
from lattice_agent.exec.requests import (
    FROM_SUPERVISOR,
    MAX_MESSAGE,
    Destroy,
    Ended,
    Failed,
    Kill,
    LingerOver,
    Message,
    Started,
    Swept,
    Terminate,
    decode,
    encode,
)
from lattice_agent.exec.spawner_link import SpawnerLink
from lattice_agent.exec.sweep import SWEEP_S

START_S: Final = 15.0
"""From the request to Started or Failed: a fork and an exec, on a machine that may be swapping."""
KILL_S: Final = 2 * SWEEP_S
"""From Kill to Swept: the sweep has its own bound below this."""
DESTROY_S: Final = 5.0
"""From Destroy to RunGone."""


@dataclass(frozen=True)
class LingerEnd:
    """How the lingering of a run's processes ended; told to ``open_runner``'s callback, for the audit."""

    run_id: str
    lingered: int
    killed: int
    uncertain: bool


class Supervision:
    """One run. ``conduct`` gives its outcome; if ``lingering``, ``linger`` has to follow; ``close`` in the end."""

    def __init__(
        self, plan: Plan, directory: str, script_path: str, link: SpawnerLink, on_output: OnOutput | None = None
    ) -> None:
        """Raises OSError when there are no descriptors left."""
        self._plan = plan
        self._link = link
        self._wish: Cause | None = None
        self._cause: Cause | None = None
        self._waiting: trio.CancelScope | None = None
        self._started = self._hung_up = False
        self._failed: Failed | None = None
        self._usage: Usage | None = None
        self._sweeping: Sweeping | None = None
        self._grace = NO_GRACE
        self._asked_at: float | None = None
        self._linger_over: LingerOver | None = None
        self._directory = directory
        self._script_path = script_path
        self._channels = Channels.open(plan.limits.output_bytes, on_output)
        self._control = trio.socket.from_stdlib_socket(self._channels.control)
        self._ticket = link.enter(lambda: self.end(Cause.SPAWNER_GONE))

    async def conduct(self) -> Outcome:
        """Run the plan to its outcome. Not to be cancelled: call ``end``, which leads to an outcome within bounds."""
        try:
            request = run_request(self._ticket.number, self._plan, self._directory, self._script_path)
            await self._link.send(request, self._channels.theirs)
        except SandboxError as error:
            return failed_to_start(self._plan.level, str(error))
        finally:
            self._channels.hand_over()
        async with trio.open_nursery() as pumps:
            pumps.start_soon(self._channels.stdout.pump)
            pumps.start_soon(self._channels.stderr.pump)
            await self._see_through()
            pumps.cancel_scope.cancel()
        self._channels.stdout.take_rest()
        self._channels.stderr.take_rest()
        return self._outcome()

    def end(self, cause: Cause) -> None:
        """Make the run, or its lingering, end now; the first cause counts."""
        if self._wish is None:
            self._wish = cause
            if self._waiting is not None:
                self._waiting.cancel()

    @property
    def lingering(self) -> int:
        """Processes that were spared when the run ended."""
        return self._sweeping.lingering if self._sweeping is not None else 0

    async def linger(self) -> LingerEnd:
        """Drain for what lingers until it is over or ``end`` is called; then it is killed. Not to be cancelled."""
        # A new phase: what ended the run does not end this, and a supervisor does not need the spawner to sweep.
        self._wish = None
        self._ticket.on_spawner_gone = _nothing
        async with trio.open_nursery() as drains:
            drains.start_soon(self._channels.stdout.discard)
            drains.start_soon(self._channels.stderr.discard)
            await self._listen(self._plan.linger_s + KILL_S, self._linger_ended)
            if not self._linger_ended():
                await self._tell(Kill(1))
                await self._listen(KILL_S, self._linger_ended, interruptible=False)
            if not self._linger_ended():
                await self._destroy()
            drains.cancel_scope.cancel()
        over = self._linger_over or LingerOver(self._ticket.orphans_killed, int(not self._ticket.gone.is_set()))
        return LingerEnd(self._plan.run_id, self.lingering, over.killed, bool(over.uncertain))

    def close(self) -> None:
        """Hang up, which ends whatever is left of the run, and close the pipes."""
        self._link.leave(self._ticket)
        self._channels.close()

    # --- the stages ---

    async def _see_through(self) -> None:
        await self._listen(START_S, lambda: self._started or self._failed is not None, interruptible=False)
        if self._started:
            await self._listen(self._plan.limits.wall_s, lambda: self._usage is not None)
            if self._usage is None:
                await self._bring_to_end()
            await self._listen(KILL_S, self._over, interruptible=False)
        if not self._over():
            self._cause = self._cause or (None if self._usage else Cause.SUPERVISOR_GONE)
            await self._destroy()
        if self._asked_at is not None:
            self._grace = replace(self._grace, seconds=trio.current_time() - self._asked_at)

    async def _bring_to_end(self) -> None:
        """SIGTERM, grace, SIGKILL. Processes that may linger are spared on a timeout only."""
        if self._hung_up:
            return
        self._cause = self._wish or Cause.TIMEOUT
        everything = int(self._cause is not Cause.TIMEOUT)
        if self._cause is not Cause.SPAWNER_GONE:
            self._asked_at = trio.current_time()
            await self._tell(Terminate(everything))
            await self._listen(self._plan.limits.grace_s, self._over, interruptible=False)
            self._grace = Grace(expired=not self._over())
        await self._tell(Kill(everything))

    async def _destroy(self) -> None:
        """The supervisor is gone or does not come to an end: the spawner finishes its work, or is replaced."""
        with trio.move_on_after(DESTROY_S) as patience:
            try:
                await self._link.send(Destroy(self._ticket.number), [])
            except SpawnerGoneError:
                patience.cancel()
            await self._ticket.gone.wait()
        if not self._ticket.gone.is_set():
            self._link.replace()

    def _over(self) -> bool:
        return self._sweeping is not None or self._failed is not None

    def _linger_ended(self) -> bool:
        return self._linger_over is not None

    def _outcome(self) -> Outcome:
        if self._failed is not None:
            return failed_to_start(self._plan.level, self._failed.reason.decode("utf-8", "replace"))
        if self._ticket.refusal and not self._started:
            return failed_to_start(self._plan.level, self._ticket.refusal)
        by_spawner = Sweeping(self._ticket.orphans_killed, uncertain=not self._ticket.gone.is_set())
        return judge(
            self._plan.level,
            self._plan.limits,
            usage=self._usage,
            cause=self._cause,
            stdout=self._channels.stdout.captured(),
            stderr=self._channels.stderr.captured(),
            sweeping=self._sweeping or by_spawner,
            grace=self._grace,
        )

    # --- listening and talking ---

    async def _listen(self, seconds: float, until: Callable[[], bool], *, interruptible: bool = True) -> None:
        """Take in what the supervisor says until ``until()``, its end-of-file, the time, or (interruptible) a wish."""
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            if interruptible:
                if self._wish is not None:
                    return
                self._waiting = scope
            while not until() and not self._hung_up:
                await self._hear()
        self._waiting = None

    async def _hear(self) -> None:
        try:
            data = await self._control.recv(MAX_MESSAGE)
        except OSError:
            data = b""
        if not data:
            self._hung_up = True
            return
        self._note(decode(data, FROM_SUPERVISOR))

    def _note(self, message: Message) -> None:
        match message:
            case Started():
                self._started = True
            case Failed():
                self._failed = message
            case Ended():
                self._usage = Usage(
                    message.status, message.wall_us / 1e6, message.cpu_us / 1e6, message.max_rss_kib * 1024
                )
            case Swept():
                self._sweeping = Sweeping(message.killed, message.lingering, bool(message.uncertain))
            case LingerOver():
                self._linger_over = message

    async def _tell(self, message: Message) -> None:
        try:
            await self._control.send(encode(message))
        except OSError:
            self._hung_up = True


def _nothing() -> None:
    """What a lingering run does when the spawner dies."""
