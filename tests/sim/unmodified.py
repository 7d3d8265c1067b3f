"""The unmodified server: the rules of ``tests.rigs.reference_server`` and of its usage, at the end of the wire.

Its state is durable as a whole, so that its death is a time during which nothing listens. It knows no extension. It
stores a second row of a result where it has no other way: of a task with more targets, of which it cannot tell that
this node has reported; and of a task whose row it has dropped meanwhile.
"""

import json
from collections import Counter
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import trio

from tests.rigs.reference_server import ModelTask, ReferenceServer
from tests.sim.ends import check_idle, is_idle
from tests.sim.node import Node
from tests.sim.party import Party
from tests.sim.scenario import Job, Scenario
from tests.sim.scripts import script_of
from tests.sim.trace import Trace
from tests.sim.usage import USERS
from tests.sim.watch import TOLD, Watch, short
from tests.sim.wire import Back, Letter
from tests.unit.usage.world import Server

FORGETS_AFTER_S = 300.0
USAGE_PATH = "/api/agent/proxy-usage"


class Unmodified(ReferenceServer):
    """With the operator who uses it."""

    party: Party | None = None
    """It never dies at an await of its own: it is a model."""

    def __init__(self, scenario: Scenario, trace: Trace, watch: Watch) -> None:
        super().__init__(scenario.seed)
        self._scenario = scenario
        self._trace = trace
        self._watch = watch
        self.usage = Server(set(USERS))
        self._newest_usage = 0
        self.done = trio.Event()

    is_up = True
    """Its books can be looked at."""

    @property
    def is_down(self) -> bool:
        """Whether it is dead now."""
        now = trio.current_time()
        return any(death.at_s <= now < death.at_s + death.down_s for death in self._scenario.server_deaths)

    async def live_for_ever(self) -> None:
        """It tells of its ups and downs."""
        self._watch.up("control")
        for death in self._scenario.server_deaths:
            await trio.sleep_until(death.at_s)
            self._watch.down("control")
            await trio.sleep(death.down_s)
            self._watch.up("control")
        await trio.sleep_forever()

    async def register(self, node: str) -> str:
        """A node's token."""
        await trio.lowlevel.checkpoint()
        return f"{node}-token"

    async def take(self, letter: Letter) -> Back | None:
        """See ``wire.Far``."""
        await trio.lowlevel.checkpoint()
        if self.is_down:
            raise ConnectionRefusedError
        if letter.path == "/api/agent/tasks":
            query = {name: values[0] for name, values in parse_qs(letter.query).items()}
            return _back(200, self._poll(query))
        if letter.method == "GET":
            return _back(200, {})
        body = json.loads(letter.body)
        answer = (
            self._usage(letter, body) if letter.path == USAGE_PATH else self._route(letter.path, body, len(letter.body))
        )
        if letter.path.startswith("/api/agent/task-results"):
            self._trace.violated("extensions", "a batch goes to a server that has not announced it")
        if answer[0] == 400 and "/task-result" in letter.path:
            self._trace.violated("acceptable results", f"#{letter.number} of {letter.node} is refused: {answer[1]}")
        self._trace.note("control", f"#{letter.number} of {letter.node}: {answer[0]}")
        return _back(*answer)

    def _usage(self, letter: Letter, body: dict[str, Any]) -> tuple[int, Any]:
        if letter.number < self._newest_usage:
            # An older report that is late costs what flowed between the two (docs/usage.md, declared): left out here.
            return 503, {}
        self._newest_usage = letter.number
        snapshot = body["snapshot"]
        if snapshot.get("collector_status") == "error":
            return 200, {"users_ignored": 0}
        status, ignored = self.usage.take(snapshot["user_bytes"] or {})
        return status, {"users_ignored": ignored}

    async def prepare(self) -> None:
        """Its users are there from the start."""

    def billed(self, node: str) -> Counter[str]:
        """Bytes by user, for ever."""
        return self.usage.billed

    # --- its operator ---

    async def work(self) -> None:
        """Creates the tasks at their times."""
        async with trio.open_nursery() as nursery:
            for number, job in zip(count(1), self._scenario.jobs, strict=False):
                nursery.start_soon(self._see_to, f"task_{number}", job)
        self.done.set()

    async def _see_to(self, task_id: str, job: Job) -> None:
        await trio.sleep_until(job.at_s)
        targets = 2 if job.number % 3 == 0 else 1
        task = self.add(task_id, script=script_of(job), timeout_sec=job.timeout_s, targets=targets)
        self._trace.note("operator", f"creates {task_id}: {task.script}, {targets} targets")
        if job.is_forgotten and targets > 1:  # a task with one target has ended, and is not handed out again
            await trio.sleep(FORGETS_AFTER_S)
            if task.results:
                task.forgotten = True
                self._trace.note("operator", f"{task_id}: its row is dropped")

    # --- the end ---

    async def is_settled(self, nodes: list[Node]) -> bool:
        """Whether nothing is open any more, on either side."""
        await trio.lowlevel.checkpoint()
        idle = all(is_idle(node) and node.cores.is_billed(self.usage.billed) for node in nodes)
        return idle and not any(task.leasable(float("inf")) for task in self.tasks.values())

    async def check_ends(self, nodes: list[Node]) -> None:
        """Every task has its result."""
        await trio.lowlevel.checkpoint()
        for node in nodes:
            check_idle(node, self._trace)
            node.cores.check_end(self.usage.billed)
        for task in self.tasks.values():
            self._check_task(task, self._watch.run_of("node-1", task.id).told)

    def _check_task(self, task: ModelTask, told: dict[str, Any] | None) -> None:
        rows = [{name: row[name] for name in TOLD} for row in task.results]
        if not rows:
            self._trace.violated("settled", f"{task.id} has no result")
        if any(row != told for row in rows):
            self._trace.violated("exactly once", f"{task.id}: {[short(row) for row in rows]}")
        if len(rows) > 1 and task.targets == 1 and task.leases < len(rows):
            self._trace.violated("exactly once", f"{task.id} has {len(rows)} rows of {task.leases} leases")


def _back(status: int, document: Any) -> Back:
    return Back(status, {"content-type": "application/json"}, json.dumps(document).encode())
