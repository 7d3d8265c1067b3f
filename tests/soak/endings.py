"""Whether a task ended as it had to: pure rules, and the count of starts at the end."""

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.soak.kinds import Kind, says_its_id

EXCUSED: Final = ("interrupted", "not_started")
"""What a task may be if its agent or spawner was killed while it was open."""
HEADING: Final = ("at_s", "task", "node", "kind", "outcome", "seconds")


@dataclass
class Deaths:
    """When agents and their spawners were killed, by node: from the order to kill to the new start. Monotonic times."""

    _times: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def note(self, node: str, since: float, until: float) -> None:
        self._times.setdefault(node, []).append((since, until))

    def within(self, node: str, since: float, until: float) -> bool:
        """Whether one fell into this time."""
        return any(begin <= until and since <= end for begin, end in self._times.get(node, []))


def faults_of(kind: Kind, task: Mapping[str, Any], excused: Callable[[str], bool]) -> list[str]:
    """What is wrong with an ended task, in sentences. ``excused``: whether something on the node was killed."""
    faults = []
    for target in task["targets"]:
        node, outcome = target["node_id"], target["outcome"]
        results = [result for result in task["results"] if result["node_id"] == node]
        wanted = 1 if target["state"] == "reported" else 0
        if len(results) != wanted:
            faults.append(f"{len(results)} results of {node}, which is {target['state']}")
        if outcome == kind.outcome:
            faults += [f"{node}: {fault}" for result in results for fault in _of_output(kind, task["id"], result)]
        elif not (outcome in EXCUSED and excused(node)):
            faults.append(f"{node}: {outcome}, not {kind.outcome}: {target['text']}")
    return faults


def _of_output(kind: Kind, task_id: str, result: Mapping[str, Any]) -> list[str]:
    faults = []
    if kind.bytes_out is not None and len(result["stdout"]) != kind.bytes_out:
        faults.append(f"{len(result['stdout'])} bytes, not {kind.bytes_out}")
    if says_its_id(kind) and not result["stdout"].startswith(f"{task_id}\n"):
        faults.append(f"the output is of something else: {result['stdout'][:60]!r}")
    return faults


def faults_of_starts(marks: Path, endings: Path) -> list[str]:
    """What the marks that scripts left say against the outcomes that were told."""
    starts = Counter(marks.read_text().splitlines())
    faults = [f"{mark} started {count} times" for mark, count in starts.items() if count > 1]
    with endings.open(newline="") as file:
        for row in csv.DictReader(file):
            count = starts[f"{row['task']} {row['node']}"]
            if row["outcome"] in ("succeeded", "failed", "output_limit") and count != 1:
                faults.append(f"{row['task']} {row['outcome']} on {row['node']} after {count} starts")
            if row["outcome"] in ("refused", "not_started") and count:
                faults.append(f"{row['task']} {row['outcome']} on {row['node']}, but it started")
    return faults


def counted(endings: Path) -> dict[str, Counter[str]]:
    """How often each outcome, by kind."""
    found: dict[str, Counter[str]] = {}
    with endings.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["kind"], Counter())[row["outcome"]] += 1
    return found


def rows_of(at_s: float, kind: Kind, task: Mapping[str, Any], seconds: float) -> Sequence[Sequence[object]]:
    """For the file of endings: one for each target."""
    return [
        (f"{at_s:.2f}", task["id"], target["node_id"], kind.name, target["outcome"], f"{seconds:.3f}")
        for target in task["targets"]
    ]
