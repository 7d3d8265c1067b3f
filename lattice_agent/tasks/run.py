"""Runs waiting tasks in a bounded number of slots: decide, journal, run, journal. One task, one path through `_one`.

The journal is written *before* the script starts and before its result is sent. Whatever kills the agent between
two lines of `_one`, the next start finds the truth in the journal (``recover``).
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import trio

from lattice_agent.complaints import Complaints
from lattice_agent.errors import SandboxError, StateError
from lattice_agent.exec.outcome import Outcome
from lattice_agent.exec.plan import Plan, Refusal, TaskRequest
from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import Phase, TaskRow
from lattice_agent.tasks.cancels import Cancels
from lattice_agent.tasks.decide import Event
from lattice_agent.tasks.execution import Decider, Executor, Live
from lattice_agent.tasks.outcomes import EndedBy, detail_without_run, raw_result, refusal_detail
from lattice_agent.tasks.record import TaskAudit
from lattice_agent.tasks.run_path import RunPath
from lattice_agent.tasks.shape import CANCELLED_WAITING, INTERRUPTED, shape, without_output
from lattice_agent.tasks.spool import Spool
from lattice_agent.wire.base import encode
from lattice_agent.wire.results import RunDetail, RunOutcome, TaskResult

log = logging.getLogger(__name__)

STORE_RETRY_S: Final = 2.0
"""A result that cannot be written (disk full) is held in memory and tried again this often; its slot stays taken."""
STORE_AT_END_S: Final = 10.0
"""When the agent ends it tries no longer than this; at the next start the journal has the task as interrupted."""


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
        live: Live | None = None,
    ) -> None:
        self._spool = spool
        self._executor = executor
        self._decide = decide
        self._node_id = node_id
        self._slots = slots
        self._now = now
        self._audit = audit
        self._result_stored = result_stored
        self._live = live
        # Bounded: the intake asks only while there is a free slot, and takes a bounded number per answer.
        self._waiting: deque[TaskRow] = deque()
        self._running: dict[str, RunPath] = {}
        self._cancels = Cancels(self.has)
        self._complaints = Complaints(log)
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

    def cancel(self, task_id: str) -> None:
        """The control plane wants the task ended, or never started; at any moment, and as often as it likes.

        A run is ended and reported as cancelled; a task that waits is declined; one that has ended stays as it is. The
        id is remembered (``Cancels``), since the order may come before the lease whose answer is still on its way.
        """
        self._cancels.add(task_id)
        if path := self._running.get(task_id):
            path.cancel()
        self._tell()

    async def recover(self) -> None:
        """Bring in what an earlier process left: interrupted runs get their result, waiting tasks their place."""
        waiting, running = await self._spool.found_at_start()
        for row in running:
            log.warning("task %s was running when the agent ended; reporting it as interrupted", row.task_id)
            await self._store(row, Event.ENDED, self._interrupted(row))
            await self._audit.record("task.interrupted", task_id=row.task_id, lease_id=row.lease_id)
        for row in waiting:
            self.add(row)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run tasks until drained; cancelling ends what runs as interrupted."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            try:
                await self._serve(nursery)
            except trio.Cancelled:
                self._end_soon()
                raise

    async def _serve(self, nursery: trio.Nursery) -> None:
        """Until drained. What is cancelled while the last runs end is still declined."""
        while True:
            self._start_what_fits(nursery)
            if self._draining and not self._running:
                return
            await self._moved.wait()

    def _start_what_fits(self, nursery: trio.Nursery) -> None:
        free = 0 if self._draining else max(0, self._slots - len(self._running))
        for row in list(self._waiting):
            # A task that was given up and leased again may still have its earlier path in a slot: it waits for that.
            if row.task_id in self._running:
                continue
            if row.task_id not in self._cancels:  # declining takes no slot: nothing runs
                if not free:
                    continue
                free -= 1
            self._waiting.remove(row)
            path = self._running[row.task_id] = RunPath()
            nursery.start_soon(self._guarded, row, path)

    def drain(self) -> None:
        """Start nothing more; ``run`` returns when the running tasks have ended. Waiting ones stay in the journal."""
        self._draining = True
        self._tell()

    def interrupt(self) -> None:
        """End what runs now; each is stored as interrupted, or given up as unsaved after STORE_AT_END_S."""
        self._end_soon()
        for path in self._running.values():
            path.interrupt()

    def _end_soon(self) -> None:
        self._draining = True
        for path in self._running.values():
            path.agent_ends()
        if self._give_up_at is None:
            self._give_up_at = trio.current_time() + STORE_AT_END_S

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def _guarded(self, row: TaskRow, path: RunPath) -> None:
        try:
            with path.whole:
                await self._one(row, path)
        except StateError as error:
            self._complaints.say(row.task_id, f"task {row.task_id} not started yet: {error}; {error.hint()}")
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

    async def _one(self, row: TaskRow, path: RunPath) -> None:
        try:
            if row.task_id not in self._cancels:
                await self._decide_and_run(row, path)
        finally:
            # Wherever the order came in between, and whoever else ends us: a cancelled task does not stay waiting.
            if row.task_id in self._cancels:
                with trio.CancelScope(shield=True):
                    await self._decline_cancelled(row)

    async def _decline_cancelled(self, row: TaskRow) -> None:
        known = await self._startable(row)
        if known is None:
            return
        log.info("task %s: %s", known.task_id, CANCELLED_WAITING)
        await self._audit.cancelled(known.task_id, known.lease_id)
        await self._store(known, Event.DECLINED, self._cancelled_waiting(known))

    async def _startable(self, row: TaskRow) -> TaskRow | None:
        """The row as it is now if it may still start."""
        known = await self._spool.waiting(row.task_id, self._now())
        if known is None or known.phase is not Phase.GIVEN_UP:
            return known
        log.warning("task %s: its lease is too old to start it", known.task_id)
        await self._audit.record("task.given_up", task_id=known.task_id, lease_id=known.lease_id)
        return None

    async def _decide_and_run(self, row: TaskRow, path: RunPath) -> None:
        known = await self._startable(row)
        if known is None:
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
            await self._store(known, Event.DECLINED, self._plain(known, decision.reason, refusal_detail(decision)))
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._draining or known.task_id in self._cancels:
            return  # it waits in the journal: for the next start, or to be declined
        started = await self._spool.start(known.task_id)
        self._complaints.over(known.task_id, f"task {known.task_id} starts now")
        await self._execute(started, decision, path)

    async def _execute(self, row: TaskRow, plan: Plan, path: RunPath) -> None:
        started_at, queued_s = datetime.now(UTC), self._now().age_of(row.since) or 0.0
        result = self._interrupted(row, started_at)
        outcome = None
        try:
            with path.execution:
                outcome = await self._run_live(row, plan)
            if outcome is None:  # the order came before anything was started
                result = self._cancelled_waiting(row)
            else:
                raw = raw_result(outcome, started_at, datetime.now(UTC), queued_s=queued_s, ended_by=path.ended_by)
                result = shape(row.task_id, self._node_id, raw, plan.limits.output_bytes)
        except trio.Cancelled:
            if path.ended_by is EndedBy.CONTROL_PLANE:  # the agent ends as well, and nothing was started
                result = self._cancelled_waiting(row)
            raise
        except SandboxError as error:
            log.error("task %s: %s; %s", row.task_id, error, error.hint())
            result = self._plain(row, str(error), detail_without_run(RunOutcome.INTERRUPTED, str(error)), started_at)
        except Exception:
            # A fault of ours in one run must not take the other runs along; the task is reported as interrupted.
            log.exception("task %s: the runner failed", row.task_id)
        finally:
            # Also on cancellation: a run that was started has a result, whatever happens.
            with trio.CancelScope(shield=True):
                await self._store(row, Event.ENDED, result)
                await self._record(row, outcome, path)

    async def _run_live(self, row: TaskRow, plan: Plan) -> Outcome:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._live is None:
            return await self._executor.run(plan)
        on_output = self._live.begin(row.task_id, row.lease_id)
        try:
            return await self._executor.run(plan, on_output)
        finally:
            self._live.end(row.task_id)

    async def _record(self, row: TaskRow, outcome: Outcome | None, path: RunPath) -> None:
        if outcome is not None:
            await self._audit.outcome(row.task_id, outcome, path.ended_by)
        elif path.ended_by is EndedBy.CONTROL_PLANE:
            await self._audit.cancelled(row.task_id, row.lease_id)

    async def _store(self, row: TaskRow, event: Event, result: TaskResult) -> None:
        """Write a result, again and again until it is written or the agent ends."""
        text = encode(result).decode()
        while True:
            try:
                await self._spool.finish(row.task_id, event, text)
                break
            except Exception as error:  # noqa: BLE001  # whatever it is, the only copy of the result is here
                self._complaints.say(row.task_id, f"task {row.task_id}: result kept in memory, not stored yet: {error}")
            if self._give_up_at is not None and trio.current_time() >= self._give_up_at:
                self.unsaved.append(row.task_id)
                return
            await trio.sleep(STORE_RETRY_S)
        self._complaints.over(row.task_id, f"task {row.task_id}: result stored")
        self._result_stored(row.task_id)

    def _plain(self, row: TaskRow, error: str, detail: RunDetail, started_at: datetime | None = None) -> TaskResult:
        now = datetime.now(UTC)
        result = without_output(row.task_id, self._node_id, error, row.output_limit, now)
        return result.model_copy(update={"started_at": started_at or now, "detail": detail})

    def _interrupted(self, row: TaskRow, started_at: datetime | None = None) -> TaskResult:
        return self._plain(row, INTERRUPTED, detail_without_run(RunOutcome.INTERRUPTED, INTERRUPTED), started_at)

    def _cancelled_waiting(self, row: TaskRow) -> TaskResult:
        detail = detail_without_run(RunOutcome.CANCELLED, CANCELLED_WAITING)
        return self._plain(row, CANCELLED_WAITING, detail)
