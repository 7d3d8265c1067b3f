"""What the slots need of those who decide, run and listen."""

from collections.abc import Callable
from typing import Protocol

from lattice_agent.exec.outcome import Outcome
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import Plan, Refusal, TaskRequest


class Executor(Protocol):
    """What runs a plan: ``exec.runner.Runner``, or a scripted one in simulations."""

    async def run(self, plan: Plan, on_output: OnOutput | None = None) -> Outcome:
        """How the plan ended. A cancellation that comes when something was started gives an outcome too."""
        ...


class Live(Protocol):
    """Takes output on its way while runs go on. Neither method waits or raises: a run goes on whatever happens here."""

    def begin(self, task_id: str, lease_id: str) -> OnOutput:
        """A run starts under this lease; a newer one may be adopted while it runs."""
        ...

    def end(self, task_id: str) -> None:
        """No more output comes from it; its result is stored next."""
        ...


Decider = Callable[[TaskRequest], Plan | Refusal]
