"""Which tasks the control plane has cancelled in this life of the agent: also those that are not here yet."""

from collections.abc import Callable
from typing import Final

from lattice_agent.tasks.decide import MAX_ID

REMEMBERED: Final = 1024
"""Cancelled ids of tasks that are not here. With one more the oldest is forgotten: leased after that, its task runs,
until the control plane says again that it is cancelled."""


class Cancels:
    """Ids that must not start."""

    def __init__(self, is_here: Callable[[str], bool]) -> None:
        """``is_here``: whether a task waits or runs; its id is never forgotten then."""
        self._is_here = is_here
        self._ids: dict[str, None] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._ids

    def add(self, task_id: str) -> None:
        """Remember an id; one that no task can have (``MAX_ID``) is not worth its memory."""
        if not 0 < len(task_id.encode()) <= MAX_ID:
            return
        self._ids[task_id] = self._ids.pop(task_id, None)
        if len(self._ids) > REMEMBERED:
            oldest = next((known for known in self._ids if not self._is_here(known)), None)
            if oldest is not None:
                del self._ids[oldest]
