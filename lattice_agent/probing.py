"""Looks again for levels that the probe at the agent's start did not see reached.

An agent starts with its machine, when processors, memory and descriptors are scarcest: a script of the probe that was
too slow says nothing about the host, and tasks would be refused until somebody starts the agent anew. Where a level
cannot be reached, a few more looks cost little.
"""

import random
from typing import Final

import trio

from lattice_agent.exec.runner import Runner
from lattice_agent.execution import Execution
from lattice_agent.link.patience import spread

AGAIN_S: Final = (60.0, 120.0, 300.0, 900.0, 3600.0)
"""Pauses before each further look. Then the host is as it is."""
JITTER: Final = 0.1


class Probing:
    """The service that looks again."""

    name = "probe"

    def __init__(self, execution: Execution, runner: Runner, rng: random.Random) -> None:
        self._execution = execution
        self._runner = runner
        self._rng = rng

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until every level is reached, or it was looked at often enough."""
        task_status.started()
        for pause_s in AGAIN_S:
            if not self._execution.may_gain:
                return
            await trio.sleep(spread(pause_s, JITTER, self._rng))
            await self._execution.probe_again(self._runner)
