"""The real control plane with its operator, who creates tasks, cancels some, does some again, and drains nodes."""

from collections import Counter
from pathlib import Path

import trio

from tests.sim.control import Control
from tests.sim.ends import check_ends, settled
from tests.sim.node import Node
from tests.sim.party import WallClock
from tests.sim.scenario import Job, Scenario
from tests.sim.scripts import script_of
from tests.sim.trace import Trace
from tests.sim.usage import USERS
from tests.sim.watch import Watch


class Operated(Control):
    """With the operator who carries out what the scenario says of jobs and drains."""

    def __init__(self, place: Path, scenario: Scenario, trace: Trace, watch: Watch) -> None:
        super().__init__(place / "control.db", WallClock(_moves(scenario)), trace, watch)
        self._scenario = scenario
        self._watch = watch
        self.done = trio.Event()
        """Everything was ordered."""

    async def register(self, node: str) -> str:
        """A node's token."""
        token = str((await self.operate("POST", "/api/v1/nodes", {"id": node}))["token"])
        await self.operate("PUT", f"/api/v1/nodes/{node}/profile", {})
        return token

    async def prepare(self) -> None:
        """The users whose traffic is counted."""
        for user in USERS:
            await self.operate("POST", "/api/v1/users", {"id": user})

    def billed(self, node: str) -> Counter[str]:
        """Bytes by user, for ever."""
        assert self.life is not None, "whoever asks knows that it lives"
        users = self.life.store.read(lambda tables: tables.usage.users())
        return Counter({user.account.user_id: user.per_node.get(node, 0) for user in users})

    async def is_settled(self, nodes: list[Node]) -> bool:
        """Whether nothing is open any more, on either side."""
        return await settled(self, nodes) and all(node.cores.is_billed(self.billed(node.name)) for node in nodes)

    async def check_ends(self, nodes: list[Node]) -> None:
        """Every task has its end, and it is a true one."""
        await check_ends(self, nodes, self._trace, self._watch)
        for node in nodes:
            node.cores.check_end(self.billed(node.name))

    async def work(self) -> None:
        """All of it."""
        async with trio.open_nursery() as nursery:
            for job in self._scenario.jobs:
                nursery.start_soon(self._see_to, job)
            for number, node in enumerate(self._scenario.nodes, 1):
                nursery.start_soon(self._drain, f"node-{number}", node.drains)
        self.done.set()

    async def _see_to(self, job: Job) -> None:
        await trio.sleep_until(job.at_s)
        order = {
            "nodes": [f"node-{number + 1}" for number in job.nodes],
            "script": script_of(job),
            "timeout_sec": job.timeout_s,
            "queue_timeout_sec": job.queue_timeout_s,
            "concurrency": job.concurrency,
        }
        task_id = (await self.operate("POST", "/api/v1/tasks", order))["task"]["id"]
        self._trace.note("operator", f"creates {task_id} of {order}")
        for after_s, what, body in (
            (job.cancel_after_s, "cancel", {}),
            (job.rerun_after_s, "rerun", {"only": "all"}),
        ):
            if after_s is not None:
                await trio.sleep_until(job.at_s + after_s)
                answer = await self.operate("POST", f"/api/v1/tasks/{task_id}/{what}", body)
                self._trace.note("operator", f"{what} {task_id}: {answer.get('error', {}).get('message', 'done')}")

    async def _drain(self, node: str, times: tuple[float, ...]) -> None:
        for number, at_s in enumerate(times):
            await trio.sleep_until(at_s)
            draining = number % 2 == 0
            await self.operate("POST", f"/api/v1/nodes/{node}/drain", {"draining": draining})
            self._trace.note("operator", f"{node} {'is drained' if draining else 'works again'}")


def _moves(scenario: Scenario) -> tuple[tuple[float, float], ...]:
    """Of its clock. At the end of trouble somebody sets it, to after every time at which it has let a lease die."""
    offsets, total = [0.0], 0.0
    for _, by_s in scenario.server_wall_moves:
        total += by_s
        offsets.append(total)
    return (*scenario.server_wall_moves, (scenario.quiet_from_s, max(offsets) - total))
