"""Asks for work when a slot is free and writes it to the journal before anything runs (protocol reference 2.3).

A poll comes only after every result that is due was delivered: the control plane then knows which tasks are done,
and a lease that ran out while we worked is not handed out again. Expect random order, task ids we know, and more
tasks than we have slots.

While the control stream is open, the control plane tells when there is work (``wake``), and polls become rare. It may
also tell to take none (``drain``); that holds as long as the stream on which it was said, because a control plane says
it again on the next one, and one that is gone for good must not keep a node idle for ever.
"""

import logging
import random
from collections.abc import Callable
from typing import Any, Final

import trio

from lattice_agent.complaints import Complaints
from lattice_agent.errors import StateError
from lattice_agent.link.backoff import Backoff
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line
from lattice_agent.link.patience import Patience
from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import Phase
from lattice_agent.tasks.decide import (
    MAX_ID,
    Lease,
    Next,
    Pause,
    PollRhythm,
    delay_when_told_no_more,
    pause_end,
    poll_delay,
    spool_full,
)
from lattice_agent.tasks.run import Runs
from lattice_agent.tasks.sender import Sender
from lattice_agent.tasks.spool import Spool
from lattice_agent.wire.base import WireError, decode_json, parse
from lattice_agent.wire.ext import BATCH_LEASES, MAX_LEASES
from lattice_agent.wire.tasks import LeasedTask

log = logging.getLogger(__name__)

BASE_S, CAP_S = 1.0, 60.0
_WORK: Final = "work"
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
        lease_changed: Callable[[str, str], None] | None = None,
    ) -> None:
        """``lease_changed(task_id, lease_id)`` is told of a new lease for a task that is in a slot or waits for one."""
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
        self._complaints = Complaints(log)
        self._last_work: float | None = None
        self._kill_switch = False
        self._at_once = False
        self._polls_pass = False
        self._period_began = 0.0
        # Leases that could not be written yet: nothing is asked for before they are. At most MAX_TAKEN.
        self._unwritten: list[Lease] = []
        self._lease_changed = lease_changed
        self._told = False  # the control stream is open
        self._woken = False  # there is work, and no poll has begun since that was said
        self._draining = False
        self._latest = float("inf")  # the next poll is not later
        self._news = trio.Event()

    def wake(self) -> None:
        """There is work: poll as soon as it makes sense. Counts for the poll after one that is under way."""
        self._woken = True
        self._tell()

    def drain(self, on: bool) -> None:
        """Begin no poll, or go on polling; what runs is not touched, and results go out."""
        if on != self._draining:
            self._draining = on
            log.warning("the control plane %s", "lets this node take no tasks" if on else "lets this node work again")
            self._tell()

    def stream_opened(self) -> None:
        """From now on the control plane tells when there is work."""
        self._told, self._latest = True, float("inf")

    def stream_closed(self) -> None:
        """It does so no more, and a ``drain`` of its has ended."""
        if self._draining:
            log.info("what the control stream said last was to take no tasks; that ends with it")
        self._told = self._draining = False
        self._latest = trio.current_time() + delay_when_told_no_more(self._rhythm, chance=self._rng.random())
        self._tell()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Poll for ever."""
        task_status.started()
        while True:
            await self._runs.wait_free()
            await self._sender.caught_up()
            if self._draining:
                await self._news.wait()
                continue
            try:
                if spool_full(await self._spool.unsent()):
                    self._complaints.say(_WORK, "no work taken: the result spool is full until results are delivered")
                    await trio.sleep(self._trouble.failed(self._rng))
                    continue
                if self._unwritten:
                    await self._take(self._unwritten)
                pause = await self._poll()
                self._trouble.succeeded()
                self._complaints.over(_WORK, "work is taken again")
            except StateError as error:
                self._complaints.say(_WORK, f"no work taken: {error}; {error.hint()}")
                pause = Pause(trio.current_time() + self._trouble.failed(self._rng), ends_early=False)
            await self._rest(pause)

    async def _rest(self, pause: Pause) -> None:
        await trio.lowlevel.checkpoint()
        while (end := pause_end(pause, woken=self._woken, latest=self._latest)) > trio.current_time():
            with trio.move_on_at(end):
                await self._news.wait()

    async def _poll(self) -> Pause:
        """One poll; returns how long to wait for the next.

        The period runs from start to start, whatever an answer takes, and an extra poll right after work does not
        shift it.
        """
        began = trio.current_time()
        self._woken, self._latest = False, float("inf")
        if not self._at_once:
            self._period_began = began
        params = {}
        if self._features.has(BATCH_LEASES):
            params["max"] = str(min(MAX_LEASES, self._runs.free_slots()))
        received = self._now()  # before the request: a lease may be older than its answer, never younger
        reply = await self._line.get("/api/agent/tasks", params)
        delay = self._patience.after(reply.verdict, self._rng)
        if reply.answer is None or not reply.ok:
            self._polls_pass = False
            return Pause(trio.current_time() + delay, ends_early=False)
        self._note_kill_switch(KILL_SWITCH_HEADER in reply.answer.headers)
        leases = read_leases(reply.answer.body, received)
        if leases:
            self._last_work = trio.current_time()
            await self._take(leases)
        since = None if self._last_work is None else trio.current_time() - self._last_work
        self._at_once = bool(leases)
        delay = poll_delay(
            self._rhythm,
            got_work=bool(leases),
            since_work_s=since,
            chance=self._rng.random(),
            told=self._told,
            first=not self._polls_pass,
        )
        self._polls_pass = self._polls_pass or not leases  # after work comes an extra poll: the rhythm begins later
        on_period = self._period_began + delay
        return Pause(on_period if on_period > trio.current_time() else began + delay)

    async def _take(self, leases: list[Lease]) -> None:
        """Write leases and bring their tasks on their way; StateError leaves them for the next try."""
        self._unwritten = leases
        taken = await self._spool.take(leases)
        self._unwritten = []
        for row, then in taken:
            if then is Next.RUN or (row.phase is Phase.WAITING and not self._runs.has(row.task_id)):
                # The second case: the journal knows it as waiting, but an earlier fault dropped it from the queue.
                self._runs.add(row)
            elif then is Next.WAIT and self._lease_changed is not None:
                self._lease_changed(row.task_id, row.lease_id)
            elif then is Next.SEND:
                log.info("task %s came again; its stored result goes out under the new lease", row.task_id)
                self._sender.result_stored(row.task_id)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

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
