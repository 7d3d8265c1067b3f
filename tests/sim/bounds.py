"""Bounds of an agent, looked at with every heartbeat: what it holds, and what it believes to be delivered.

The numbers are those that the code declares; one entry per caller is what ``state.commit`` and ``link.pacing`` promise,
whose callers are the slots and the services.
"""

from typing import TYPE_CHECKING

from lattice_agent.state.journal import Phase
from lattice_agent.tasks.decide import SPOOL_BYTES, SPOOL_RESULTS
from lattice_agent.tasks.intake import MAX_TAKEN

if TYPE_CHECKING:
    from tests.sim.node import Life, Node

SERVICES = 12
"""Callers beside the slots, generously."""
LARGEST_RESULT = 1024 * 1024
_ACCEPTED = f"SELECT task_id FROM task WHERE phase = '{Phase.ACCEPTED.value}'"


def check_bounds(node: "Node", life: "Life") -> None:
    """Direct looks, between two steps of the agent."""
    assert life.runs is not None, "it is composed"
    statistics, (unsent, size) = life.runs.statistics(), life.journal.unsent()
    slots = node.plan.slots
    held = {
        "running": (statistics.running, slots + statistics.waiting),
        "waiting": (statistics.waiting, MAX_TAKEN),
        "unsent results": (unsent, SPOOL_RESULTS + slots),
        "bytes of unsent results": (size, SPOOL_BYTES + slots * LARGEST_RESULT),
        "results held back": (len(life.held()), unsent + MAX_TAKEN),
        "commits pending": (life.commits_pending(), slots + SERVICES),
    }
    for what, (count, bound) in held.items():
        if count > bound:
            node.trace.violated("bounds", f"{node.name}: {what} {count}, at most {bound}")
    for (task_id,) in life.connection.execute(_ACCEPTED).fetchall():
        if not node.watch.run_of(node.name, task_id).is_acknowledged:
            node.trace.violated("delivered", f"{node.name} takes {task_id} for delivered, and nobody has said so")
