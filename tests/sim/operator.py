"""The operator: creates tasks, cancels some, does some again, drains nodes, at the times of the scenario."""

import trio

from tests.sim.control import Control
from tests.sim.scenario import Job, Scenario
from tests.sim.scripts import script_of
from tests.sim.trace import Trace


class Operator:
    """Carries out what the scenario says of jobs and drains."""

    def __init__(self, scenario: Scenario, control: Control, trace: Trace) -> None:
        self._scenario = scenario
        self._control = control
        self._trace = trace
        self.done = trio.Event()
        """Everything was ordered."""

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
        task_id = (await self._control.operate("POST", "/api/v1/tasks", order))["task"]["id"]
        self._trace.note("operator", f"creates {task_id} of {order}")
        for after_s, what, body in (
            (job.cancel_after_s, "cancel", {}),
            (job.rerun_after_s, "rerun", {"only": "all"}),
        ):
            if after_s is not None:
                await trio.sleep_until(job.at_s + after_s)
                answer = await self._control.operate("POST", f"/api/v1/tasks/{task_id}/{what}", body)
                self._trace.note("operator", f"{what} {task_id}: {answer.get('error', {}).get('message', 'done')}")

    async def _drain(self, node: str, times: tuple[float, ...]) -> None:
        for number, at_s in enumerate(times):
            await trio.sleep_until(at_s)
            draining = number % 2 == 0
            await self._control.operate("POST", f"/api/v1/nodes/{node}/drain", {"draining": draining})
            self._trace.note("operator", f"{node} {'is drained' if draining else 'works again'}")
