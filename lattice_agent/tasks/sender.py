"""Delivers stored results, oldest first and before the next poll (protocol reference 2.4).

Theory of operation. The journal is the queue; this loop only looks at what is due. Three kinds of trouble:

- nobody can be asked (no connection, 401, 429): the whole loop waits with back-off, and so does the intake, which
  must not poll before results are delivered;
- one result fails (5xx, an answer that cannot be used, a time-out while other exchanges go well): it moves back with
  a back-off of its own, the others go on; when several in a row fail, the server is broken and the loop slows down
  without holding up the intake;
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

from lattice_agent.complaints import Complaints
from lattice_agent.errors import StateError
from lattice_agent.link.answer import Answer as HttpAnswer
from lattice_agent.link.backoff import Backoff
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line, Reply
from lattice_agent.link.patience import Patience
from lattice_agent.link.verdict import Kind, Verdict
from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import TaskRow
from lattice_agent.tasks.decide import Answer
from lattice_agent.tasks.shape import LOST, RESULT_BOUND, shrink, without_output
from lattice_agent.tasks.spool import TEXT_DROPPED, Settlement, Spool
from lattice_agent.wire.base import WireError, decode, encode
from lattice_agent.wire.envelope import ErrorEnvelope
from lattice_agent.wire.ext import (
    BATCH_RESULTS,
    MAX_RESULTS,
    RESULT_DETAIL,
    ResultBatch,
    ResultBatchAnswer,
    ResultVerdict,
)
from lattice_agent.wire.results import ResultReport, TaskResult

log = logging.getLogger(__name__)

BROKEN_IN_A_ROW: Final = 3
"""So many 5xx one after another are the server's trouble, not a result's."""
LEASE_ROOM: Final = 2048
"""Bytes that lease id and framing add to a stored result, at most (``decide.MAX_ID``)."""
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
        self._complaints = Complaints(log)
        self._not_taken = Complaints(log, logging.WARNING)
        # At most one entry per unsent result, and those are bounded by decide.SPOOL_RESULTS.
        self._held: dict[str, _Held] = {}
        self._broken_in_a_row = 0
        self._singly = 0
        self._stored = trio.Event()
        self._looked = trio.Event()
        self._caught_up = False
        self._work_no = 0

    def result_stored(self, task_id: str) -> None:
        """Tell the loop that there is a result to send, or to send again at once under a new lease."""
        self._held.pop(task_id, None)
        self._work_no += 1
        self._caught_up = False
        self._stored.set()

    async def caught_up(self) -> None:
        """Wait until every result that is due has been answered.

        Held-back ones don't count, nor does a server that answers but cannot store results.
        """
        while not (self._caught_up or self._server_is_broken()):
            await self._looked.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send for ever."""
        task_status.started()
        while True:
            self._stored = trio.Event()
            work_no = self._work_no
            try:
                due, wait_s = await self._due()
                if due:
                    await self._send_some(due)
                self._complaints.over(self.name, "result spool: works again")
                if due:
                    continue
            except StateError as error:
                # An answer that could not be recorded: the result goes out again, which the server knows to take.
                self._complaints.say(self.name, f"result spool: {error}; {error.hint()}")
                await trio.sleep(self._trouble.failed(self._rng))
                continue
            if work_no == self._work_no:
                self._caught_up = True
                self._tell_looked()
            with trio.move_on_after(wait_s):
                await self._stored.wait()

    def _server_is_broken(self) -> bool:
        return self._broken_in_a_row >= BROKEN_IN_A_ROW

    def _tell_looked(self) -> None:
        self._looked.set()
        self._looked = trio.Event()

    async def _due(self) -> tuple[list[str], float]:
        """Task ids to send now, few enough for one request, and the seconds until a held one is due."""
        heads = await self._spool.to_send(MAX_RESULTS + len(self._held))
        now = trio.current_time()
        present = {task_id for task_id, _ in heads}
        self._held = {task_id: held for task_id, held in self._held.items() if task_id in present}
        due = [head for head in heads if head[0] not in self._held or self._held[head[0]].until <= now]
        wait_s = min((held.until - now for held in self._held.values() if held.until > now), default=float("inf"))
        batched = self._features.has(BATCH_RESULTS) and not self._singly
        return _fitting(due[: MAX_RESULTS if batched else 1]), wait_s

    async def _send_some(self, task_ids: list[str]) -> None:
        """One exchange: a batch, or a single result."""
        rows = await self._spool.get_all(task_ids)
        if len(rows) > 1:
            await self._send_batch(rows)
        elif rows:
            await self._send_single(rows[0])
        if self._server_is_broken():
            self._tell_looked()  # a server that cannot store results does not keep us from asking for work
            with trio.move_on_after(self._trouble.failed(self._rng)):
                await self._stored.wait()  # a new result may fare better

    async def _send_single(self, row: TaskRow) -> None:
        self._singly = max(0, self._singly - 1)
        began = trio.current_time()
        body = encode(ResultReport(node_id=self._node_id, result=self._result_of(row)))
        reply = await self._line.post("/api/agent/task-result", body)
        del body
        if await self._nobody_home(reply, began):
            return
        if reply.answer is None:
            self._hold(row, reply.verdict)
        else:
            await self._settle([(row, reply.answer.status, _message(reply.answer.body))], reply.verdict)

    async def _send_batch(self, rows: list[TaskRow]) -> None:
        began = trio.current_time()
        body = encode(ResultBatch(node_id=self._node_id, results=tuple(self._result_of(row) for row in rows)))
        reply = await self._line.post("/api/agent/task-results", body)
        del body
        if await self._nobody_home(reply, began):
            return
        verdicts = self._verdicts(reply.answer, rows)
        if verdicts is None:
            self._singly = len(rows)  # one by one, the result that the server stumbles over shows itself
            if reply.verdict.retry_after_s is not None:
                await trio.sleep(self._trouble.failed(self._rng, reply.verdict.retry_after_s))
            return
        answered = [(row, verdict.status, verdict.message) for row, verdict in zip(rows, verdicts, strict=True)]
        await self._settle(answered, reply.verdict)

    async def _nobody_home(self, reply: Reply, began: float) -> bool:
        """Whether nobody can be asked now; waits if so. No answer while others get theirs is this result's trouble."""
        delay = self._patience.after(reply.verdict, self._rng)
        others_went_well = self._line.last_ok_s is not None and self._line.last_ok_s > began
        nobody = reply.verdict.kind in (Kind.UNAUTHORIZED, Kind.THROTTLED) or (
            reply.verdict.kind is Kind.UNREACHABLE and not others_went_well
        )
        if nobody:
            await trio.sleep(delay)
        return nobody

    def _verdicts(self, answer: HttpAnswer | None, batch: list[TaskRow]) -> tuple[ResultVerdict, ...] | None:
        if answer is None:
            return None
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

    async def _settle(self, answered: list[tuple[TaskRow, int, str]], verdict: Verdict) -> None:
        """Carry out what the server said about each result; what it took or refused for good in one transaction."""
        final = []
        for row, status, message in answered:
            answer = _final_answer(status)
            if answer is None and status == 400:
                answer = await self._cut(row, message)
            elif answer is None:
                self._hold(row, verdict)
                continue
            if answer is not None:
                final.append(Settlement(row.task_id, row.lease_id, answer))
            self._broken_in_a_row = 0
            self._trouble.succeeded()
            self._held.pop(row.task_id, None)
            self._not_taken.over(row.task_id, f"task {row.task_id}: result taken")
        if final:
            await self._spool.settle(final, self._now())

    async def _cut(self, row: TaskRow, message: str) -> Answer | None:
        """Store a smaller form, or say that there is none."""
        smaller = shrink(self._result_of(row), row.shrunk, row.output_limit)
        if smaller is None:
            log.error("task %s: the server refuses even an empty result (%s); it is kept", row.task_id, message)
            return Answer.UNACCEPTABLE
        log.warning("task %s: the server refuses the result (%s); sending less of it", row.task_id, message)
        await self._spool.replace_result(row.task_id, row.lease_id, encode(smaller).decode())
        return None

    def _hold(self, row: TaskRow, verdict: Verdict) -> None:
        held = self._held.setdefault(row.task_id, _Held())
        held.until = trio.current_time() + held.backoff.failed(self._rng, verdict.retry_after_s)
        self._broken_in_a_row += 1
        self._not_taken.say(
            row.task_id, f"task {row.task_id}: result not taken ({verdict.text}); kept and sent again, after others"
        )

    def _result_of(self, row: TaskRow) -> TaskResult:
        result = None
        if row.result is not None and row.result != TEXT_DROPPED:
            try:
                result = decode(TaskResult, row.result.encode())
            except WireError as error:
                log.error("task %s: its stored result cannot be read: %s", row.task_id, error)
        if result is None:
            result = without_output(row.task_id, self._node_id, LOST, row.output_limit, datetime.now(UTC))
        detail = result.detail if self._features.has(RESULT_DETAIL) else None
        return result.model_copy(update={"lease_id": row.lease_id, "detail": detail})


def _fitting(due: list[tuple[str, int]]) -> list[str]:
    """As many as fit into one request; the first always does (``tasks.shape``)."""
    chosen: list[str] = []
    size = 0
    for task_id, result_bytes in due:
        size += result_bytes + LEASE_ROOM
        if chosen and size > RESULT_BOUND:
            break
        chosen.append(task_id)
    return chosen


def _final_answer(status: int) -> Answer | None:
    if 200 <= status < 300:
        return Answer.STORED
    return Answer.DEAD_LEASE if status == 403 else None


def _message(body: bytes) -> str:
    try:
        return decode(ErrorEnvelope, body).error.message
    except WireError:
        return "no reason given"
