"""Taking results, one or many in a transaction (protocol reference 2.4; extension ``results.batch``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lattice_agent.wire.results import TaskResult
from server_stub.actions.outcomes import Settled, settle_task
from server_stub.rules.facts import clean_detail
from server_stub.rules.results import Result, Verdict, judge
from server_stub.rules.run_endings import ending_of
from server_stub.store.base import Tables
from server_stub.store.records import BY_AGENT, AuditEvent
from server_stub.times import in_utc


@dataclass(frozen=True)
class Report:
    """One verdict for each result, in their order, and the tasks of which they have changed something."""

    verdicts: tuple[Verdict, ...]
    changed: tuple[Settled, ...]


def take_results(tables: Tables, node_id: str, results: Sequence[TaskResult], now: datetime) -> Report:
    """Judges each result by itself: a bad one does not keep the others from being stored."""
    verdicts: list[Verdict] = []
    changed: list[Settled] = []
    for sent in results:
        result = _as_result(sent, node_id, now)
        verdict = _take(tables, result, now)
        verdicts.append(verdict)
        if verdict.stores:
            changed.append(settle_task(tables, result.task_id, now))
    return Report(tuple(verdicts), tuple(changed))


def _take(tables: Tables, result: Result, now: datetime) -> Verdict:
    target = tables.tasks.target(result.task_id, result.node_id)
    task = tables.tasks.get(result.task_id) if target is not None else None
    stored = tables.tasks.result(result.task_id, result.node_id) if target is not None else None
    verdict = judge(result, target, task.output_limit if task is not None else 0, stored)
    ending = None
    if verdict.stores and target is not None and task is not None:
        ending = ending_of(result, task.timeout_sec, target.cancel_requested_by)
        tables.tasks.put_result(result, ending, now)
    _audit(tables, result, verdict, "the same result again" if ending is None else ending.text, now)
    return verdict


def _audit(tables: Tables, result: Result, verdict: Verdict, accepted: str, now: datetime) -> None:
    decision = "allow" if verdict.status == 200 else "deny"
    reason = verdict.message or accepted
    target = result.task_id[:128]  # of an unknown task: whatever the node made up
    tables.audit.append(
        AuditEvent(now, result.node_id, "task.result", target, result.node_id, decision, reason, BY_AGENT)
    )


def _as_result(sent: TaskResult, node_id: str, now: datetime) -> Result:
    """The node is the one that authenticated, whatever the result says."""
    return Result(
        sent.task_id,
        node_id,
        sent.lease_id,
        sent.exit_code,
        sent.stdout,
        sent.stderr,
        sent.error,
        in_utc(sent.started_at),
        in_utc(sent.finished_at) or now,
        None if sent.detail is None else clean_detail(sent.detail),
    )
