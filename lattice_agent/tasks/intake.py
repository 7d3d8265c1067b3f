"""Asks for work when a slot is free and writes it to the journal before anything runs (protocol reference 2.3).

A poll comes only after every result that is due was delivered: the control plane then knows which tasks are done,
and a lease that ran out while we worked is not handed out again. Expect random order, task ids we know, and more
tasks than we have slots.
"""

import logging
import random
from collections.abc import Callable
from typing import Any, Final

import trio

from lattice_agent.errors import StateError
from lattice_agent.link.backoff import Backoff
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line
from lattice_agent.link.patience import Patience
from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import Phase
from lattice_agent.tasks.decide import MAX_ID, Lease, Next, PollRhythm, poll_delay, spool_full
from lattice_agent.tasks.run import Runs
from lattice_agent.tasks.sender import Sender
from lattice_agent.tasks.spool import Spool
from lattice_agent.wire.base import WireError, decode_json, parse
from lattice_agent.wire.ext import BATCH_LEASES, MAX_LEASES
from lattice_agent.wire.tasks import LeasedTask

log = logging.getLogger(__name__)

BASE_S, CAP_S = 1.0, 60.0
MAX_TAKEN: Final = 64
"""Tasks taken from one answer; the rest is ignored, and comes again when its leases die."""
KILL_SWITCH_HEADER: Final = "x-lattice-task-execution-disabled"


class Intake:
    """The service that polls."""

    name = "task intake"

    def __init__(
        self,
        line: Line,
        spool: Spool,
        runs: Runs,
        sender: Sender,
        features: Features,
        *,
        rhythm: PollRhythm,
        now: Callable[[], BootTime],
        rng: random.Random,
    ) -> None:
        self._line = line
        self._spool = spool
        self._runs = runs
        self._sender = sender
        self._features = features
        self._rhythm = rhythm
        self._now = now
        self._rng = rng
        self._patience = Patience(BASE_S, CAP_S)
        self._trouble = Backoff(BASE_S, CAP_S)  # our own: a full spool, a disk that fails
        self._last_work: float | None = None
        self._kill_switch = False
        self._at_once = False
        self._period_began = 0.0
        # Leases that could not be written yet: nothing is asked for before they are. At most MAX_TAKEN.
        self._unwritten: list[Lease] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Poll for ever."""
        task_status.started()
        while True:
            await self._runs.wait_free()
            await self._sender.caught_up()
            try:
                if spool_full(await self._spool.unsent()):
                    log.error("the result spool is full; no more work is taken until results are delivered")
                    await trio.sleep(self._trouble.failed(self._rng))
                    continue
                if self._unwritten:
                    await self._take(self._unwritten)
                next_at = await self._poll()
                self._trouble.succeeded()
            except StateError as error:
                log.error("no work taken: %s; %s", error, error.hint())
                next_at = trio.current_time() + self._trouble.failed(self._rng)
            await trio.sleep_until(next_at)

    async def _poll(self) -> float:
        """One poll; returns the time of the next.

        The period runs from start to start, whatever an answer takes, and an extra poll right after work does not
        shift it.
        """
        began = trio.current_time()
        if not self._at_once:
            self._period_began = began
        params = {}
        if self._features.has(BATCH_LEASES):
            params["max"] = str(min(MAX_LEASES, self._runs.free_slots()))
        received = self._now()  # before the request: a lease may be older than its answer, never younger
        reply = await self._line.get("/api/agent/tasks", params)
        delay = self._patience.after(reply.verdict, self._rng)
        if reply.answer is None or not reply.ok:
            return trio.current_time() + delay
        self._note_kill_switch(KILL_SWITCH_HEADER in reply.answer.headers)
        leases = read_leases(reply.answer.body, received)
        if leases:
            self._last_work = trio.current_time()
            await self._take(leases)
        since = None if self._last_work is None else trio.current_time() - self._last_work
        self._at_once = bool(leases)
        delay = poll_delay(self._rhythm, got_work=bool(leases), since_work_s=since, chance=self._rng.random())
        on_period = self._period_began + delay
        return on_period if on_period > trio.current_time() else began + delay

    async def _take(self, leases: list[Lease]) -> None:
        """Write leases and bring their tasks on their way; StateError leaves them for the next try."""
        self._unwritten = leases
        taken = await self._spool.take(leases)
        self._unwritten = []
        for row, then in taken:
            if then is Next.RUN or (row.phase is Phase.WAITING and not self._runs.has(row.task_id)):
                # The second case: the journal knows it as waiting, but an earlier fault dropped it from the queue.
                self._runs.add(row)
            elif then is Next.SEND:
                log.info("task %s came again; its stored result goes out under the new lease", row.task_id)
                self._sender.result_stored(row.task_id)

    def _note_kill_switch(self, on: bool) -> None:
        if on != self._kill_switch:
            self._kill_switch = on
            log.warning("the control plane has %s task execution for the fleet", "disabled" if on else "enabled")


def read_leases(body: bytes, received: BootTime) -> list[Lease]:
    """The tasks of a poll's answer; items that cannot be understood are left out and logged, the others count."""
    try:
        items = decode_json(body)
    except WireError as error:
        log.error("the answer to the task poll is %s", error)
        return []
    if items is None:
        return []
    if not isinstance(items, list):
        log.error("the answer to the task poll is a JSON %s, not a list", type(items).__name__)
        return []
    if len(items) > MAX_TAKEN:
        log.error("the answer to the task poll holds %d tasks; %d are taken", len(items), MAX_TAKEN)
    found = (_read_lease(item, received) for item in items[:MAX_TAKEN])
    return [lease for lease in found if lease is not None]


def _read_lease(item: Any, received: BootTime) -> Lease | None:
    try:
        task = parse(LeasedTask, item)
    except WireError as error:
        log.error("a leased task is not understood: %s", error)
        return None
    for name, value in (("id", task.id), ("lease_id", task.lease_id)):
        if not 0 < len(value.encode()) <= MAX_ID:
            log.error("a leased task has a %s of %d bytes; it is left alone", name, len(value.encode()))
            return None
    return Lease(
        task_id=task.id,
        lease_id=task.lease_id,
        interpreter=task.interpreter,
        script=task.script,
        timeout_sec=task.timeout_sec,
        output_limit=task.output_limit,
        received=received,
    )
