"""The two ways of ending a task in its slot, and who was first."""

import trio

from lattice_agent.tasks.outcomes import EndedBy


class RunPath:
    """The way of one task through its slot, and who ended it."""

    def __init__(self) -> None:
        self.whole = trio.CancelScope()
        self.execution = trio.CancelScope()
        self.ended_by: EndedBy | None = None

    def cancel(self) -> None:
        """The control plane wants its script ended. Nothing else of it stops: what is decided and written goes on."""
        self.ended_by = self.ended_by or EndedBy.CONTROL_PLANE
        self.execution.cancel()

    def interrupt(self) -> None:
        """The agent ends."""
        self.agent_ends()
        self.whole.cancel()

    def agent_ends(self) -> None:
        """It is being cancelled from outside. The first who ended a run is the one who is told of."""
        self.ended_by = self.ended_by or EndedBy.AGENT
