"""Runs waiting tasks in a bounded number of slots: decide, journal, run, journal. One task, one path through `_one`.

The journal is written *before* the script starts and before its result is sent. Whatever kills the agent between
two lines of `_one`, the next start finds the truth in the journal (``recover``).
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

import trio

from lattice_agent.errors import SandboxError, StateError
from lattice_agent.exec.outcome import Kind, Outcome
from lattice_agent.exec.plan import Plan, Refusal, TaskRequest
from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import Phase, TaskRow
from lattice_agent.tasks.decide import Event
from lattice_agent.tasks.outcomes import raw_result
from lattice_agent.tasks.record import TaskAudit
from lattice_agent.tasks.shape import INTERRUPTED, shape, without_output
from lattice_agent.tasks.spool import Spool
from lattice_agent.wire.base import encode
from lattice_agent.wire.results import TaskResult

log = logging.getLogger(__name__)

STORE_RETRY_S: Final = 2.0
"""A result that cannot be written (disk full) is held in memory and tried again this often; its slot stays taken."""
STORE_AT_END_S: Final = 10.0
"""When the agent ends it tries no longer than this; at the next start the journal has the task as interrupted."""


class Executor(Protocol):
    """What runs a plan: ``exec.runner.Runner``, or a scripted one in simulations."""

    async def run(self, plan: Plan) -> Outcome: ...


Decider = Callable[[TaskRequest], Plan | Refusal]


@dataclass(frozen=True)
class RunStatistics:
    """Tasks now: in a slot, waiting for one."""

    running: int
    waiting: int


class Runs:
    """The service that owns the slots."""

    name = "task runs"

    def __init__(
        self,
        spool: Spool,
        executor: Executor,
        decide: Decider,
        *,
        node_id: str,
        slots: int,
        now: Callable[[], BootTime],
        audit: TaskAudit,
        result_stored: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._executor = executor
        self._decide = decide
        self._node_id = node_id
        self._slots = slots
        self._now = now
        self._audit = audit
        self._result_stored = result_stored
        # Bounded: the intake asks only while there is a free slot, and takes a bounded number per answer.
        self._waiting: deque[TaskRow] = deque()
        self._running: dict[str, trio.CancelScope] = {}
        self._moved = trio.Event()
        self._draining = False
        self._give_up_at: float | None = None
        self.unsaved: list[str] = []
        """Task ids whose results could not be stored before the end."""

    def statistics(self) -> RunStatistics:
        """What is going on now."""
        return RunStatistics(len(self._running), len(self._waiting))

    def free_slots(self) -> int:
        """Slots that no running or waiting task needs."""
        return max(0, self._slots - len(self._running) - len(self._waiting))

    async def wait_free(self) -> None:
        """Until there is a free slot."""
        while not self.free_slots():
            await self._moved.wait()

    def has(self, task_id: str) -> bool:
        """Whether the task is in the queue or in a slot."""
        return task_id in self._running or any(row.task_id == task_id for row in self._waiting)

    def add(self, row: TaskRow) -> None:
        """Queue a task that the journal holds as waiting."""
        self._waiting.append(row)
        self._tell()

    async def recover(self) -> None:
        """Bring in what an earlier process left: interrupted runs get their result, waiting tasks their place."""
        waiting, running = await self._spool.found_at_start()
        for row in running:
            log.warning("task %s was running when the agent ended; reporting it as interrupted", row.task_id)
            await self._store(row, Event.ENDED, self._plain(row, INTERRUPTED))
            await self._audit.record("task.interrupted", task_id=row.task_id, lease_id=row.lease_id)
        for row in waiting:
            self.add(row)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run tasks until drained; cancelling ends what runs as interrupted."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            try:
                while not self._draining:
                    self._start_what_fits(nursery)
                    await self._moved.wait()
            except trio.Cancelled:
                self._end_soon()
                raise

    def _start_what_fits(self, nursery: trio.Nursery) -> None:
        # A task that was given up and leased again may still have its earlier path in a slot: it waits for that.
        startable = [row for row in self._waiting if row.task_id not in self._running]
        for row in startable[: self._slots - len(self._running)]:
            self._waiting.remove(row)
            scope = self._running[row.task_id] = trio.CancelScope()
            nursery.start_soon(self._guarded, row, scope)

    def drain(self) -> None:
        """Start nothing more; ``run`` returns when the running tasks have ended. Waiting ones stay in the journal."""
        self._draining = True
        self._tell()

    def interrupt(self) -> None:
        """End what runs now; each is stored as interrupted, or given up as unsaved after STORE_AT_END_S."""
        self._end_soon()
        for scope in self._running.values():
            scope.cancel()

    def _end_soon(self) -> None:
        self._draining = True
        if self._give_up_at is None:
            self._give_up_at = trio.current_time() + STORE_AT_END_S

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def _guarded(self, row: TaskRow, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._one(row)
        except StateError as error:
            log.error("task %s not started yet: %s; %s", row.task_id, error, error.hint())
            await self._queue_again(row)
        except Exception:
            # A fault of ours must not take the other runs along. Nothing ran: what has started is `_execute`'s.
            log.exception("task %s: fault in the task runner", row.task_id)
        finally:
            del self._running[row.task_id]
            self._tell()

    async def _queue_again(self, row: TaskRow) -> None:
        """Its lease may live longer than the trouble; until then it holds its slot, so no further work is asked for."""
        if not self._draining:
            await trio.sleep(STORE_RETRY_S)
            self._waiting.append(row)

    async def _one(self, row: TaskRow) -> None:
        known = await self._spool.waiting(row.task_id, self._now())
        if known is None:
            return
        if known.phase is Phase.GIVEN_UP:
            log.warning("task %s: its lease is too old to start it", known.task_id)
            await self._audit.record("task.given_up", task_id=known.task_id, lease_id=known.lease_id)
            return
        request = TaskRequest(
            task_id=known.task_id,
            lease_id=known.lease_id,
            interpreter=known.interpreter,
            script=known.script or "",
            timeout_sec=known.timeout_sec,
            output_limit=known.output_limit,
        )
        decision = self._decide(request)
        await self._audit.decision(request, decision)
        if isinstance(decision, Refusal):
            log.warning("task %s refused: %s", known.task_id, decision.reason)
            await self._store(known, Event.DECLINED, self._plain(known, decision.reason))
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._draining:
            return  # it waits in the journal for the next start
        await self._spool.start(known.task_id)
        await self._execute(known, decision)

    async def _execute(self, row: TaskRow, plan: Plan) -> None:
        started_at = datetime.now(UTC)
        result = self._plain(row, INTERRUPTED, started_at)
        outcome = None
        try:
            outcome = await self._executor.run(plan)
            result = self._shaped(row, plan, outcome, started_at)
        except SandboxError as error:
            log.error("task %s: %s; %s", row.task_id, error, error.hint())
            result = self._plain(row, str(error), started_at)
        except Exception:
            # A fault of ours in one run must not take the other runs along; the task is reported as interrupted.
            log.exception("task %s: the runner failed", row.task_id)
        finally:
            # Also on cancellation: a run that was started has a result, whatever happens.
            with trio.CancelScope(shield=True):
                await self._store(row, Event.ENDED, result)
                if outcome is not None:
                    await self._audit.outcome(row.task_id, outcome)

    def _shaped(self, row: TaskRow, plan: Plan, outcome: Outcome, started_at: datetime) -> TaskResult:
        raw = raw_result(outcome, started_at, datetime.now(UTC))
        if outcome.kind is Kind.CANCELLED:  # only the end of the agent cancels a run
            raw = replace(raw, error=INTERRUPTED)
        return shape(row.task_id, self._node_id, raw, plan.limits.output_bytes)

    async def _store(self, row: TaskRow, event: Event, result: TaskResult) -> None:
        """Write a result, again and again until it is written or the agent ends."""
        text = encode(result).decode()
        while True:
            try:
                await self._spool.finish(row.task_id, event, text)
                break
            except Exception as error:  # noqa: BLE001  # whatever it is, the only copy of the result is here
                log.error("task %s: result not stored: %s", row.task_id, error)
            if self._give_up_at is not None and trio.current_time() >= self._give_up_at:
                self.unsaved.append(row.task_id)
                return
            await trio.sleep(STORE_RETRY_S)
        self._result_stored(row.task_id)

    def _plain(self, row: TaskRow, error: str, started_at: datetime | None = None) -> TaskResult:
        now = datetime.now(UTC)
        result = without_output(row.task_id, self._node_id, error, row.output_limit, now)
        return result.model_copy(update={"started_at": started_at or now})
