"""The agent's lease loop with its real journal, in virtual time: a scripted executor instead of processes.

``crash()`` ends it at whatever await it is in, and nothing is written any more, as if the process was killed: the
journal's last commit is all that is left. The same state directory can then be opened by a new one.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from lattice_agent.audit import AuditLog
from lattice_agent.errors import StateError
from lattice_agent.exec.outcome import Kind, Outcome, StreamCapture
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import Level, Limits, Plan, Refusal, RefusalKind, TaskRequest
from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.state.clock import BootTime
from lattice_agent.state.commit import GroupCommit, call_directly
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.journal import Journal
from lattice_agent.tasks.decide import PollRhythm
from lattice_agent.tasks.execution import Live
from lattice_agent.tasks.intake import Intake
from lattice_agent.tasks.record import TaskAudit
from lattice_agent.tasks.run import Runs
from lattice_agent.tasks.sender import Sender
from lattice_agent.tasks.spool import Spool
from tests.rigs.reference_server import ReferenceServer


class CrashedError(BaseException):
    """Not an Exception: no handler of the agent may survive a crash."""


class ScriptedExecutor:
    """Takes ``duration_s`` of virtual time for every script and counts the starts of each task id."""

    def __init__(self, duration_s: float = 0.05, stdout: bytes = b"out") -> None:
        self.starts: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.duration_of: Callable[[str], float] = lambda task_id: duration_s
        self.stdout = stdout
        self.grace_s = 0.0
        """From a cancellation to its outcome."""
        self.running = 0
        self.most_running = 0
        self._started = trio.Event()

    async def wait_running(self) -> None:
        """Until a script runs."""
        while not self.running:
            await self._started.wait()

    async def run(self, plan: Plan, on_output: OnOutput | None = None) -> Outcome:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.starts[plan.run_id] += 1
        self.running += 1
        self._started.set()
        self._started = trio.Event()
        self.most_running = max(self.most_running, self.running)
        kept = self.stdout[: plan.limits.output_bytes]
        stdout = StreamCapture(kept=kept, produced=len(self.stdout))
        if on_output is not None:
            on_output("stdout", kept)
        try:
            await trio.sleep(self.duration_of(plan.run_id))
        except trio.Cancelled:  # as the runner has it
            with trio.CancelScope(shield=True):
                await trio.sleep(self.grace_s)
            return Outcome(Kind.CANCELLED, Level.HOST, signal=15, stdout=stdout, grace_s=self.grace_s)
        finally:
            self.running -= 1
        self.ended[plan.run_id] += 1
        return Outcome(Kind.EXITED, Level.HOST, exit_code=0, stdout=stdout)


def plan_for(request: TaskRequest) -> Plan | Refusal:
    if request.script == "refuse me":
        return Refusal(RefusalKind.INTERPRETER, "interpreter is not allowlisted")
    limits = Limits(wall_s=30, output_bytes=request.output_limit, cpu_s=35, processes=64)
    return Plan(request.task_id, Level.HOST, "sh", "/bin/sh", request.script.encode(), (), limits)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Until the journal says so; it has no event for it, and virtual time makes asking free."""
    while not await condition():  # noqa: ASYNC110  # see above
        await trio.sleep(0.25)


class LeaseLoop:
    """One life of the agent's lease loop on a state directory."""

    def __init__(
        self,
        server: ReferenceServer,
        executor: ScriptedExecutor,
        directory: Path,
        *,
        slots: int = 2,
        boot_id: str = "boot-1",
        seed: int = 1,
        live: Live | None = None,
    ) -> None:
        self.server = server
        self.live_output = live
        self.executor = executor
        self.slots = slots
        self.boot_id = boot_id
        self.rng = random.Random(seed)
        self.state = StateDirectory(directory)
        self.audit = AuditLog(directory / "audit.log")
        self.features = Features()
        self.features.announced(server.features)
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.crashed = False
        self.disk_refuses = self.audit_refuses = False
        self.audit_takes_s = 0.0
        commit = GroupCommit(self.state.connection, self.state.path, self._run_sync)
        self.spool = Spool(Journal(self.state.connection, "http://reference", "node-1"), commit)
        self.health = LinkHealth()
        self.sender, self.runs, self.intake = self._compose()

    def _compose(self) -> tuple[Sender, Runs, Intake]:
        self.line = line = Line(self.server, self.health)  # type: ignore[arg-type]  # stands in for ControlPlane
        record = TaskAudit(self.audit, "http://reference", self._run_audit)
        sender = Sender(line, self.spool, self.features, node_id="node-1", now=self.now, rng=self.rng)
        runs = Runs(
            self.spool,
            self.executor,
            plan_for,
            node_id="node-1",
            slots=self.slots,
            now=self.now,
            audit=record,
            result_stored=sender.result_stored,
            live=self.live_output,
        )
        intake = Intake(line, self.spool, runs, sender, self.features, rhythm=PollRhythm(), now=self.now, rng=self.rng)
        return sender, runs, intake

    def now(self) -> BootTime:
        return BootTime(self.boot_id, trio.current_time())

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until ``crash``."""
        try:
            with self.scope:
                await self.runs.recover()
                async with trio.open_nursery() as nursery:
                    for service in (self.sender, self.runs, self.intake):
                        await nursery.start(_run, service)
                    task_status.started()
        except* CrashedError:
            assert self.crashed
        self.state.close()
        self.audit.close()
        self.over.set()

    async def crash(self) -> None:
        """The end without a word; returns when everything of this life is gone."""
        self.crashed = True
        self.scope.cancel()
        await self.over.wait()

    async def _run_sync(self, fn: Callable[..., Any], *args: Any) -> Any:
        if self.crashed:
            raise CrashedError
        if self.disk_refuses:
            self.state.connection.execute("PRAGMA query_only = 1")
        try:
            return await call_directly(fn, *args)
        finally:
            self.state.connection.execute("PRAGMA query_only = 0")

    async def _run_audit(self, fn: Callable[..., Any], *args: Any) -> Any:
        await trio.sleep(self.audit_takes_s)
        if self.audit_refuses:
            raise StateError("audit.log: no space left on device")
        return await call_directly(fn, *args)


async def _run(service: Any, *, task_status: trio.TaskStatus[None]) -> None:
    await service.run(task_status=task_status)
