"""Keeping a task's status what its targets add up to."""

from server_stub.rules.states import TaskOutcome, outcome_of
from server_stub.store.base import Tables


def settle_task(tables: Tables, task_id: str) -> TaskOutcome:
    """To be called after every change of a target."""
    outcome = outcome_of(tables.tasks.targets(task_id))
    tables.tasks.set_outcome(task_id, outcome)
    return outcome
