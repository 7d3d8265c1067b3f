"""Tasks, targets and results as operators see them."""

from collections.abc import Mapping
from datetime import datetime

from server_stub.actions.previewing import NodePreview
from server_stub.actions.tasks import ShownTask
from server_stub.api.shapes import (
    EndingShape,
    PreviewShape,
    ResultShape,
    TargetShape,
    TaskShape,
    TaskWithResultsShape,
    ToldTaskShape,
    WholeTaskShape,
)
from server_stub.rules.facts import is_online
from server_stub.rules.outcomes import describe
from server_stub.rules.states import Target
from server_stub.store.records import StoredResult, Task
from server_stub.times import text


def task_view(task: Task, outcomes: Mapping[str, int]) -> TaskShape:
    """Without the script: whoever may list tasks need not see what they do. ``outcomes`` counts targets."""
    return {
        "id": task.id,
        "actor": task.actor,
        "nodes": list(task.nodes),
        "interpreter": task.interpreter,
        "script_sha256": task.script_sha256,
        "script_size_bytes": len(task.script.encode()),
        "timeout_sec": task.timeout_sec,
        "output_limit": task.output_limit,
        "concurrency": task.concurrency,
        "max_failures": task.max_failures,
        "queue_timeout_sec": task.queue_timeout_sec,
        "rerun_of": task.rerun_of,
        "status": task.status,
        "reason": task.reason,
        "outcomes": dict(sorted(outcomes.items())),
        "attempts": task.attempts,
        "created_at": text(task.created_at),
        "started_at": text(task.started_at),
        "finished_at": text(task.finished_at),
    }


def whole_task_view(shown: ShownTask) -> WholeTaskShape:
    """One task with its targets, without results."""
    targets = [target_view(target) for target in shown.targets]
    counts: dict[str, int] = {}
    for target in targets:
        counts[target["outcome"]] = counts.get(target["outcome"], 0) + 1
    return {**task_view(shown.task, counts), "targets": targets}


def shown_task_view(shown: ShownTask) -> TaskWithResultsShape:
    """One task with its targets and results."""
    targets = {target.node_id: target for target in shown.targets}
    results = [result_view(result, targets[result.node_id]) for result in shown.results]
    return {**whole_task_view(shown), "results": results}


def told_task_view(shown: ShownTask) -> ToldTaskShape:
    """The same, but for what the scripts have printed."""
    targets = {target.node_id: target for target in shown.targets}
    results = [ending_view(result, targets[result.node_id]) for result in shown.results]
    return {**whole_task_view(shown), "results": results}


def target_view(target: Target) -> TargetShape:
    """``outcome`` and ``text``: what has become of it so far."""
    ending = describe(target)
    return {
        "node_id": target.node_id,
        "state": target.state,
        "outcome": ending.outcome,
        "text": ending.text,
        "attempts": target.attempts,
        "leased_at": text(target.leased_at),
        "running_since": text(target.running_since),
        "finished_at": text(target.finished_at),
        "cancel_requested_at": text(target.cancel_requested_at),
        "lease_expires_at": text(target.lease_expires_at),
    }


def result_view(result: StoredResult, target: Target) -> ResultShape:
    """``target`` is the one whose result it is."""
    return {**ending_view(result, target), "stdout": result.stdout, "stderr": result.stderr}


def ending_view(result: StoredResult, target: Target) -> EndingShape:
    """The same without what the script has printed."""
    ending = describe(target)
    return {
        "node_id": result.node_id,
        "outcome": ending.outcome,
        "text": ending.text,
        "exit_code": result.exit_code,
        "error": result.error,
        "detail": result.detail,
        "started_at": text(result.started_at),
        "finished_at": text(result.finished_at),
        "received_at": text(result.received_at),
    }


def preview_view(preview: NodePreview, now: datetime) -> PreviewShape:
    """What a node would say, and what else keeps the task from it."""
    node, said = preview.node, preview.said
    kept = "; the node is disabled" if node.disabled else "; the node is draining" if node.draining else ""
    return {
        "node_id": node.id,
        "verdict": said.verdict,
        "text": said.text + kept,
        "level": said.level,
        "timeout_sec": said.timeout_sec,
        "output_limit": said.output_limit,
        "online": is_online(node.presence.last_seen, now),
    }
