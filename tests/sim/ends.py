"""What must hold when everything has had the time to come to its end."""

from typing import Any

from lattice_agent.state.journal import Phase
from tests.sim.control import Control
from tests.sim.node import Node
from tests.sim.trace import Trace
from tests.sim.watch import TOLD, Run, Watch, short

OPEN = ("queued", "leased")


async def settled(control: Control, nodes: list[Node]) -> bool:
    """Whether nothing is open any more, on either side."""
    return all(is_idle(node) for node in nodes) and not await open_tasks(control)


def is_idle(node: Node) -> bool:
    """Whether its agent has nothing to run and nothing to send."""
    life = node.life
    if life is None or life.runs is None:
        return False
    statistics = life.runs.statistics()
    return statistics.running == statistics.waiting == 0 and life.journal.unsent() == (0, 0)


async def open_tasks(control: Control) -> list[str]:
    """Ids of tasks that have not ended."""
    found = []
    for status in OPEN:
        found += (await control.operate("GET", f"/api/v1/tasks?status={status}&limit=200"))["tasks"]
    return [str(task["id"]) for task in found]


async def check_ends(control: Control, nodes: list[Node], trace: Trace, watch: Watch) -> None:
    """Every task has its end, and it is a true one."""
    for node in nodes:
        check_idle(node, trace)
    listed = (await control.operate("GET", "/api/v1/tasks?limit=200"))["tasks"]
    known = set()
    for one in listed:
        task = (await control.operate("GET", f"/api/v1/tasks/{one['id']}"))["task"]
        results = {result["node_id"]: result for result in task["results"]}
        for target in task["targets"]:
            known.add((target["node_id"], task["id"]))
            _check_target(control, task["id"], target, results.get(target["node_id"]), trace, watch)
    for node_id, task_id in watch.runs:
        if (node_id, task_id) not in known:
            trace.violated("known tasks", f"{node_id} has {task_id}, which the control plane does not know")
    await _check_stored_once(control, trace)


def check_idle(node: Node, trace: Trace) -> None:
    """Whether its agent lives and has nothing left to do."""
    life = node.life
    if life is None or life.runs is None:
        trace.violated("settled", f"{node.name} is not up")
        return
    if not is_idle(node):
        trace.violated("settled", f"{node.name}: {life.runs.statistics()}, unsent {life.journal.unsent()}")
    if life.runs.free_slots() != node.plan.slots:
        trace.violated("settled", f"{node.name} has {life.runs.free_slots()} free slots of {node.plan.slots}")
    if stuck := life.journal.in_phase(Phase.WAITING, Phase.RUNNING, Phase.FINISHED, limit=9):
        trace.violated("settled", f"in the journal of {node.name}: {[(row.task_id, row.phase.value) for row in stuck]}")


def _check_target(
    control: Control, task_id: str, target: dict[str, Any], result: dict[str, Any] | None, trace: Trace, watch: Watch
) -> None:
    node_id, state = target["node_id"], target["state"]
    run = watch.runs.get((node_id, task_id))
    where = f"{task_id} on {node_id}"
    if state in OPEN:
        trace.violated("settled", f"{where} is still {state}")
    elif state == "reported":
        told = None if result is None else {name: result[name] for name in TOLD}
        if run is None or told is None or run.told != told:
            trace.violated("exactly once", f"{where}: stored is {told and short(told)}, sent was {run and run.told}")
    elif (
        state == "lost" and run is not None and run.told is not None and has_last_lease(control, task_id, node_id, run)
    ):
        trace.violated("exactly once", f"{where} is lost, though its agent has a result and the last lease for it")
    elif not target["text"]:
        trace.violated("reasons", f"{where} is {state} without a reason")
    elif run is not None and run.started_in is not None and state != "lost":
        trace.violated("true end", f"{where} has run, and is {state}")


def has_last_lease(control: Control, task_id: str, node_id: str, run: Run) -> bool:
    """Whether the newest lease of a target has reached an agent that has lived on."""
    assert control.life is not None, "it is quiet"
    target = control.life.store.read(lambda tables: tables.tasks.target(task_id, node_id))
    return target is not None and any(one.party.alive and one.lease_id == target.lease_id for one in run.leases)


async def _check_stored_once(control: Control, trace: Trace) -> None:
    """The audit has a line for each result that was taken, and says of a repetition that it is one."""
    taken: dict[tuple[str, str], int] = {}
    events = (await control.operate("GET", "/api/v1/audit?action=task.result&limit=1000"))["events"]
    for event in events:
        if event["decision"] == "allow" and event["reason"] != "the same result again":
            key = event["target"], event["node_id"]
            taken[key] = taken.get(key, 0) + 1
    for (task_id, node_id), times in taken.items():
        if times > 1:
            trace.violated("exactly once", f"the result of {task_id} on {node_id} was stored {times} times")
