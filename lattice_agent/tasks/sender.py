"""Delivers stored results, oldest first and before the next poll (protocol reference 2.4).

Theory of operation. The journal is the queue; this loop only looks at what is due. Three kinds of trouble:

- nobody can be asked (no connection, 401, 429): the whole loop waits with back-off, and so does the intake, which
  must not poll before results are delivered;
- one result fails (5xx): it moves back with a back-off of its own, the others go on; when several in a row fail, the
  server is broken and the loop slows down without holding up the intake;
- a result is not acceptable (400): it is cut and sent again, at last with empty streams, then kept as rejected.
  A dead lease (403) keeps it as refused. Both go out again under a new lease of the same task id, never otherwise.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import trio

from lattice_agent.errors import StateError
from lattice_agent.link.answer import Answer as HttpAnswer
from lattice_agent.link.backoff import Backoff
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line
from lattice_agent.link.patience import Patience
from lattice_agent.link.verdict import Kind
from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import TaskRow
from lattice_agent.tasks.decide import Answer
from lattice_agent.tasks.shape import LOST, RESULT_BOUND, encoded_size, shrink, without_output
from lattice_agent.tasks.spool import LOST_MARK, Spool
from lattice_agent.wire.base import WireError, decode, encode
from lattice_agent.wire.envelope import ErrorEnvelope
from lattice_agent.wire.ext import BATCH_RESULTS, MAX_RESULTS, ResultBatch, ResultBatchAnswer, ResultVerdict
from lattice_agent.wire.results import ResultReport, TaskResult

log = logging.getLogger(__name__)

BROKEN_IN_A_ROW: Final = 3
"""So many 5xx one after another are the server's trouble, not a result's."""
LINK_BASE_S, LINK_CAP_S = 0.5, 30.0
ROW_BASE_S, ROW_CAP_S = 5.0, 600.0


@dataclass
class _Held:
    """A result that failed alone: when it may be tried again."""

    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=ROW_BASE_S, cap_s=ROW_CAP_S))
    until: float = 0.0


class Sender:
    """The service that empties the spool."""

    name = "result sender"

    def __init__(
        self,
        line: Line,
        spool: Spool,
        features: Features,
        *,
        node_id: str,
        now: Callable[[], BootTime],
        rng: random.Random,
    ) -> None:
        self._line = line
        self._spool = spool
        self._features = features
        self._node_id = node_id
        self._now = now
        self._rng = rng
        self._patience = Patience(LINK_BASE_S, LINK_CAP_S)
        self._trouble = Backoff(LINK_BASE_S, LINK_CAP_S)
        # At most one entry per unsent result, and those are bounded by decide.SPOOL_RESULTS.
        self._held: dict[str, _Held] = {}
        self._broken_in_a_row = 0
        self._singly = 0
        self._stored = trio.Event()
        self._looked = trio.Event()
        self._caught_up = False
        self._work_no = 0

    def result_stored(self) -> None:
        """Tell the loop that there is something new to send."""
        self._work_no += 1
        self._caught_up = False
        self._stored.set()

    async def caught_up(self) -> None:
        """Wait until every result that is due has been answered (held-back ones don't count)."""
        while not self._caught_up:
            await self._looked.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send for ever."""
        task_status.started()
        while True:
            self._stored = trio.Event()
            work_no = self._work_no
            try:
                due, wait_s = await self._due()
            except StateError as error:
                log.error("cannot read the result spool: %s; %s", error, error.hint())
                await trio.sleep(self._trouble.failed(self._rng))
                continue
            if due:
                await self._send_some(due)
                continue
            if work_no == self._work_no:
                self._tell_caught_up()
            with trio.move_on_after(wait_s):
                await self._stored.wait()

    def _tell_caught_up(self) -> None:
        self._caught_up = True
        self._looked.set()
        self._looked = trio.Event()

    async def _due(self) -> tuple[list[TaskRow], float]:
        """Rows to send now, and the seconds until a held one is due."""
        rows = await self._spool.to_send(MAX_RESULTS + len(self._held))
        now = trio.current_time()
        present = {row.task_id for row in rows}
        self._held = {task_id: held for task_id, held in self._held.items() if task_id in present}
        due = [row for row in rows if row.task_id not in self._held or self._held[row.task_id].until <= now]
        wait_s = min((held.until - now for held in self._held.values() if held.until > now), default=float("inf"))
        return due[:MAX_RESULTS], wait_s

    async def _send_some(self, rows: list[TaskRow]) -> None:
        """One exchange: a batch where the server takes batches, else the oldest result."""
        try:
            if self._features.has(BATCH_RESULTS) and len(rows) > 1 and not self._singly:
                await self._send_batch(rows)
            else:
                await self._send_single(rows[0])
        except StateError as error:
            # The answer could not be recorded: the result goes out again, which the server takes as a duplicate.
            log.error("cannot record an answer: %s; %s", error, error.hint())
            await trio.sleep(self._trouble.failed(self._rng))

    async def _send_single(self, row: TaskRow) -> None:
        self._singly = max(0, self._singly - 1)
        body = encode(ResultReport(node_id=self._node_id, result=self._result_of(row)))
        answer = await self._post("/api/agent/task-result", body)
        if answer is None:
            return
        await self._settle(row, answer.status, _message(answer.body))

    async def _send_batch(self, rows: list[TaskRow]) -> None:
        batch: list[TaskRow] = []
        results: list[TaskResult] = []
        size = 0
        for row in rows:
            result = self._result_of(row)
            size += encoded_size(result)
            if batch and size > RESULT_BOUND:
                break
            batch.append(row)
            results.append(result)
        body = encode(ResultBatch(node_id=self._node_id, results=tuple(results)))
        answer = await self._post("/api/agent/task-results", body)
        if answer is None:
            return
        verdicts = self._verdicts(answer, batch)
        if verdicts is None:
            self._singly = len(batch)  # one by one, the result that the server stumbles over shows itself
            return
        async with trio.open_nursery() as nursery:  # the settlements share one commit
            for row, verdict in zip(batch, verdicts, strict=True):
                nursery.start_soon(self._settle, row, verdict.status, verdict.message)

    def _verdicts(self, answer: HttpAnswer, batch: list[TaskRow]) -> tuple[ResultVerdict, ...] | None:
        if answer.status != 200:
            log.warning("batch of results: HTTP %d: %s", answer.status, _message(answer.body))
            if answer.status in (404, 405):
                self._features.withdraw(BATCH_RESULTS)
            return None
        try:
            verdicts = decode(ResultBatchAnswer, answer.body).results
        except WireError as error:
            log.warning("answer to a batch of results: %s", error)
            return None
        if [v.task_id for v in verdicts] != [row.task_id for row in batch]:
            log.warning("answer to a batch of results: the verdicts are not about the results that were sent")
            return None
        return verdicts

    async def _post(self, path: str, body: bytes) -> HttpAnswer | None:
        """The answer, or None after waiting if nobody could be asked."""
        reply = await self._line.post(path, body)
        delay = self._patience.after(reply.verdict, self._rng)
        if reply.answer is None or reply.verdict.kind in (Kind.UNAUTHORIZED, Kind.THROTTLED):
            await trio.sleep(delay)
            return None
        return reply.answer

    async def _settle(self, row: TaskRow, status: int, message: str) -> None:
        if status == 200:
            await self._record(row, Answer.STORED)
        elif status == 403:
            log.warning("task %s: the lease is dead, the result is kept for the next one", row.task_id)
            await self._record(row, Answer.DEAD_LEASE)
        elif status == 400:
            await self._cut(row, message)
        else:
            await self._hold(row, status)
            return
        self._broken_in_a_row = 0
        self._trouble.succeeded()
        self._held.pop(row.task_id, None)

    async def _record(self, row: TaskRow, answer: Answer) -> None:
        await self._spool.settle(row.task_id, row.lease_id, answer, self._now())

    async def _cut(self, row: TaskRow, message: str) -> None:
        smaller = shrink(self._result_of(row), row.shrunk, row.output_limit)
        if smaller is None:
            log.error("task %s: the server refuses even an empty result (%s); it is kept", row.task_id, message)
            await self._record(row, Answer.UNACCEPTABLE)
            return
        log.warning("task %s: the server refuses the result (%s); sending less of it", row.task_id, message)
        await self._spool.replace_result(row.task_id, row.lease_id, encode(smaller).decode())

    async def _hold(self, row: TaskRow, status: int) -> None:
        held = self._held.setdefault(row.task_id, _Held())
        held.until = trio.current_time() + held.backoff.failed(self._rng)
        self._broken_in_a_row += 1
        log.warning("task %s: HTTP %d for its result, trying others first", row.task_id, status)
        if self._broken_in_a_row >= BROKEN_IN_A_ROW:
            self._tell_caught_up()  # a server that cannot store results does not keep us from asking for work
            await trio.sleep(self._trouble.failed(self._rng))

    def _result_of(self, row: TaskRow) -> TaskResult:
        if row.result is None or row.result == LOST_MARK:
            moment = datetime.now(UTC)
            result = without_output(row.task_id, self._node_id, LOST, row.output_limit, moment)
        else:
            result = decode(TaskResult, row.result.encode())
        return result.model_copy(update={"lease_id": row.lease_id})


def _message(body: bytes) -> str:
    try:
        return decode(ErrorEnvelope, body).error.message
    except WireError:
        return "no reason given"
