"""The places at which a process is ended: each one between two steps that must not be one.

``name`` is the row of the table in docs/crashes.md. ``most``: the process ends at the first to so manieth passing, by
chance, where the place is passed for many reasons. ``scene`` is what brings a process there (``tests.crashes.scenes``).
Standard library only, as ``hook``.
"""

from dataclasses import dataclass
from typing import Final

from tests.crashes.hook import AFTER, BEFORE, Place

AGENT, SPAWNER, SUPERVISOR, SERVER = PROCESSES = ("agent", "spawner", "supervisor", "server")
TASK, HOST_TASK, TALKATIVE_TASK = "a task", "a task at level host", "a task that writes"
CANCELLED, OUTLIVED, INTERRUPTED = "a cancelled task", "a task that outlives its lease", "a task that was interrupted"
A_DAY_LATER, QUEUED_TOO_LONG = "a day later", "a task that waits too long"
USAGE, BASE_USAGE = "usage", "usage on the base wire"


@dataclass(frozen=True)
class Point(Place):
    """A place, whose process it is, and what brings it there."""

    process: str
    scene: str = TASK
    most: int = 1

    def __str__(self) -> str:
        return f"{self.process}-{self.name}".replace(" ", "-").replace(",", "")


_INTAKE, _RUN, _SENDER = "lattice_agent.tasks.intake", "lattice_agent.tasks.run", "lattice_agent.tasks.sender"
_COMMIT, _CELL_RUN = "lattice_agent.state.commit", "lattice_agent.exec.cell_run"
_BOOKS, _REPORT = "lattice_agent.usage.books", "lattice_agent.report.usage"
_SPAWNER, _CELLS, _HOST_RUN = "lattice_agent.exec.spawner", "lattice_agent.exec.cells", "lattice_agent.exec.host_run"
_TAKE: Final = "taken = await self._spool.take(leases)"
_START: Final = "started = await self._spool.start(known.task_id)"
_FINISH: Final = "await self._spool.finish(row.task_id, event, text)"
_SEND: Final = 'reply = await self._line.post("/api/agent/task-result", body)'
_RECOVER: Final = "await self._store(row, Event.ENDED, self._interrupted(row))"
_READING: Final = 'await self._store.put({f"{_SOURCE}{source}": _BOOKS.dump_json(book)})'
_TELLING: Final = "await self._books.set_standing(self._books.standing.billing, ledger.telling(before, told))"
_READY: Final = "self._tell(CellReady(entry.number, controllers), [*entry.handed, entry.pidfd])"

AGENT_POINTS: Final = (
    Point("a lease came, nothing is written", _INTAKE, _TAKE, BEFORE, AGENT),
    Point("the lease is on disk", _INTAKE, _TAKE, AFTER, AGENT),
    Point("before any commit", _COMMIT, 'self._connection.execute("COMMIT")', BEFORE, AGENT, most=12),
    Point("after any commit", _COMMIT, 'self._connection.execute("COMMIT")', AFTER, AGENT, most=12),
    Point("decided, not in the audit", _RUN, "await self._audit.decision(request, decision)", BEFORE, AGENT),
    Point("the decision is in the audit", _RUN, "await self._audit.decision(request, decision)", AFTER, AGENT),
    Point("about to be marked as started", _RUN, _START, BEFORE, AGENT),
    Point("marked as started, on disk", _RUN, _START, AFTER, AGENT),
    Point("about to hand the script to its cell", _CELL_RUN, "self._task.dispatch()", BEFORE, AGENT),
    Point("the cell has the script", _CELL_RUN, "self._task.dispatch()", AFTER, AGENT),
    Point("the limits are in force", _CELL_RUN, "await self._put_limits_in_force()", AFTER, AGENT),
    Point(
        *("while output flows", "lattice_agent.exec.output_stream", "self._kept += data", AFTER, AGENT),
        scene=TALKATIVE_TASK,
        most=40,
    ),
    Point("the cell is empty", _CELL_RUN, "cause = await self._until_end()", AFTER, AGENT),
    Point("the run has ended, nothing is written", _RUN, "outcome = await self._run_live(row, plan)", AFTER, AGENT),
    Point("about to store the result", _RUN, _FINISH, BEFORE, AGENT),
    Point("the result is on disk", _RUN, _FINISH, AFTER, AGENT),
    Point(
        "a record of the audit is written, not synced",
        "lattice_agent.tasks.record",
        "self._audit.sync()",
        BEFORE,
        AGENT,
    ),
    Point("about to send the result", _SENDER, _SEND, BEFORE, AGENT),
    Point("the answer is read, not noted", _SENDER, _SEND, AFTER, AGENT),
    Point("the answer is noted", _SENDER, "await self._spool.settle(final, self._now())", AFTER, AGENT),
    Point(
        *("a newer lease of what runs is adopted", _INTAKE, "self._lease_changed(row.task_id, row.lease_id)", BEFORE),
        *(AGENT, OUTLIVED),
    ),
    Point("found interrupted, not told", _RUN, _RECOVER, BEFORE, AGENT, INTERRUPTED),
    Point("told as interrupted", _RUN, _RECOVER, AFTER, AGENT, INTERRUPTED),
    Point("the order to cancel is noted", _RUN, "self._cancels.add(task_id)", AFTER, AGENT, CANCELLED),
    Point("a run was told to end", _RUN, "path.cancel()", AFTER, AGENT, CANCELLED),
    Point(
        *("old tasks are forgotten, not committed", "lattice_agent.tasks.spool", "return self._journal.prune(now)"),
        *(AFTER, AGENT, A_DAY_LATER),
    ),
    Point("about to beat", "lattice_agent.report.heartbeat", "reply = await self._beat()", BEFORE, AGENT, most=2),
    Point(
        *("the configuration has come", "lattice_agent.report.config_poll"),
        *('reply = await self._line.get("/api/agent/config")', AFTER, AGENT),
    ),
    Point("a reading of usage is taken", _BOOKS, _READING, BEFORE, AGENT, USAGE),
    Point("the reading is on disk", _BOOKS, _READING, AFTER, AGENT, USAGE),
    Point("a report of usage is written down", _REPORT, _TELLING, AFTER, AGENT, USAGE),
    Point(
        *("the report is answered, not noted", _REPORT, "reply = await self._line.post(LEDGER_PATH, body)", AFTER),
        *(AGENT, USAGE),
    ),
    Point("its answer is noted", _REPORT, "delay_s = await self._send_totals(told)", AFTER, AGENT, USAGE),
    Point(
        *("a report on the base wire is written down", _REPORT),
        *("await self._books.set_standing(base.with_pending(billing, part, body))", AFTER, AGENT, BASE_USAGE),
    ),
    Point(
        *("that report is answered, not noted", _REPORT),
        *("reply = await self._line.post(PATH, billing.pending.body)", AFTER, AGENT, BASE_USAGE),
    ),
)

SPAWNER_POINTS: Final = (
    Point(
        *("the next cell is about to be built", _CELLS, "self._build_another(number, entry.plan)", BEFORE, SPAWNER),
        most=1,
    ),
    Point(
        *("a cell's maker works", _CELLS),
        *("entry.socket, helper = order.start(passed, at_once=self._attention.raised)", AFTER, SPAWNER),
    ),
    Point("about to pass a cell's descriptors", _CELLS, _READY, BEFORE, SPAWNER),
    Point("a cell's descriptors are passed", _CELLS, _READY, AFTER, SPAWNER),
    Point("a cell is in use, without limits", _CELLS, "entry.state = IN_USE", AFTER, SPAWNER, TALKATIVE_TASK),
    Point(
        *("in any turn", _SPAWNER, "ready = {fd for fd, _ in self._poll.poll(timeout_ms)}", AFTER, SPAWNER),
        scene=TALKATIVE_TASK,
        most=8,
    ),
    Point("about to pass on SIGTERM", _CELLS, "entry.signal(signal.SIGTERM)", BEFORE, SPAWNER, CANCELLED),
    Point("a child has ended, not reaped", _SPAWNER, "change = os.waitid(os.P_ALL, 0, ANY_CHANGE)", BEFORE, SPAWNER),
    Point(
        *("a cell is reaped, nobody told", _CELLS),
        *(
            "self._tell(CellGone(entry.number, entry.memory_peak, int(entry.memory_hit), entry.killed), [])",
            *(BEFORE, SPAWNER),
        ),
    ),
    Point("a supervisor is forked", _SPAWNER, "self._runs[pid] = message.run", BEFORE, SPAWNER, HOST_TASK),
)

SUPERVISOR_POINTS: Final = (
    Point(
        *("about to start the script", _HOST_RUN, "self._main = script.start(self._run, stdout, stderr)", BEFORE),
        *(SUPERVISOR, HOST_TASK),
    ),
    Point("the script is started", _HOST_RUN, "self._tell(Started(self._main))", AFTER, SUPERVISOR, HOST_TASK),
    Point(
        *("about to sweep", _HOST_RUN, "certain, lingering = self._sweep_and_tell()", BEFORE, SUPERVISOR, HOST_TASK),
    ),
    Point(
        *("swept", _HOST_RUN, "certain, lingering = self._sweep_and_tell()", AFTER, SUPERVISOR, HOST_TASK),
    ),
)

_AGENT_TASKS, _API = "server_stub.api.agent_tasks", "server_stub.api.agent"
SERVER_POINTS: Final = (
    Point(
        *("a lease is granted, not committed", "server_stub.actions.leasing"),
        *("return Poll(tuple(leased), changed=tuple(changed))", BEFORE, SERVER),
    ),
    Point(
        *("a lease is committed, not answered", "server_stub.actions.leasing"),
        *("return store.write(lambda tables: lease(tables, node_id, room, now, attempt_limit))", AFTER, SERVER),
    ),
    Point(
        *("a result is taken, not committed", "server_stub.actions.reporting"),
        *("return Report(tuple(verdicts), tuple(changed))", BEFORE, SERVER),
    ),
    Point(
        *("a result is committed, not answered", _AGENT_TASKS),
        *("report = await plane.write(partial(take_results, node_id=node_id, results=results, now=plane.now()))",),
        *(AFTER, SERVER),
    ),
    Point(
        *("half of the answer to a result is out", "tests.crashes.half_answers", "await asyncio.sleep(WRITTEN_S)"),
        *(AFTER, SERVER),
    ),
    Point(
        *("a ledger is booked, not committed", "server_stub.actions.usage"),
        *("fired = _book(tables, settlement, accounts, node_id, report.at, now)", AFTER, SERVER, USAGE),
    ),
    Point(
        *("a ledger is committed, not answered", _API),
        "return message(await plane.write(partial(take_ledger, node_id=node_id, sent=report, now=plane.now())))",
        *(AFTER, SERVER, USAGE),
    ),
    Point(
        *("a heartbeat is taken, not committed", "server_stub.actions.presence"),
        *("take_metrics(tables, node_id, beat.metrics, now)", AFTER, SERVER),
        most=2,
    ),
    Point(
        *("a cancel is written, not committed", "server_stub.actions.cancelling"),
        *("return Cancelled(show_task(tables, task_id, streams=False), settled, asked)", BEFORE, SERVER, CANCELLED),
    ),
    Point(
        *("a cancel is committed, nobody told", "server_stub.api.operator_tasks"),
        "cancelled = await plane.write(lambda tables: cancelling.cancel_task(tables, actor, task_id, node_id, now))",
        *(AFTER, SERVER, CANCELLED),
    ),
    Point(
        *("the sweep has ended a target, not committed", "server_stub.actions.giving_up"),
        *("return tuple(settled.values())", BEFORE, SERVER, QUEUED_TOO_LONG),
    ),
)

POINTS: Final = AGENT_POINTS + SPAWNER_POINTS + SUPERVISOR_POINTS + SERVER_POINTS
