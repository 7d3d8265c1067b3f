"""Tasks on the wire of the agent: the poll, results, and results in batches (protocol reference 1.5, 2.3, 2.4;
docs/protocol.md)."""

from functools import partial
from typing import Final

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from lattice_agent.wire.ext import MAX_LEASES, MAX_RESULTS, ResultBatch, ResultBatchAnswer, ResultVerdict
from lattice_agent.wire.results import ResultReport, TaskResult
from server_stub.actions.leasing import poll
from server_stub.actions.reporting import Report, take_results
from server_stub.api.announce import announce
from server_stub.api.answers import json_bytes, message, ok
from server_stub.api.body import read_message
from server_stub.api.gate import admit_node, admit_node_by_query, confirm_node
from server_stub.api.plane import Plane, plane_of
from server_stub.errors import Refused
from server_stub.rules.leases import room_of
from server_stub.rules.results import Verdict

_EXECUTION_DISABLED: Final = {"x-lattice-task-execution-disabled": "1"}


async def tasks(request: Request) -> Response:
    plane = plane_of(request)
    node_id = await admit_node_by_query(request)
    room = room_of(request.query_params.get("max"), MAX_LEASES)
    limit = plane.settings.limits.attempt_limit
    handed = await plane.run_sync(partial(poll, plane.store, node_id, room, plane.now(), limit))
    announce(plane, handed.changed)
    headers = _EXECUTION_DISABLED if handed.execution_disabled else None
    return json_bytes(to_json(handed.tasks), headers=headers)


async def task_result(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    sent = await read_message(request, ResultReport)
    node_id = await confirm_node(request, credential, sent.node_id)
    report = await _take(plane, node_id, (sent.result,))
    verdict = report.verdicts[0]
    if verdict.status != 200:
        raise Refused(verdict.status, verdict.message, code=verdict.code)
    return ok()


async def task_results(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    batch = await read_message(request, ResultBatch)
    node_id = await confirm_node(request, credential, batch.node_id)
    if not 1 <= len(batch.results) <= MAX_RESULTS:
        raise Refused(400, f"results must have between 1 and {MAX_RESULTS} entries")
    report = await _take(plane, node_id, batch.results)
    verdicts = tuple(map(_verdict, batch.results, report.verdicts))
    return message(ResultBatchAnswer(ok=True, results=verdicts))


async def _take(plane: Plane, node_id: str, results: tuple[TaskResult, ...]) -> Report:
    report = await plane.write(partial(take_results, node_id=node_id, results=results, now=plane.now()))
    for task in report.changed:
        plane.live.ended(task.task_id, node_id)
    announce(plane, report.changed)
    return report


def _verdict(result: TaskResult, verdict: Verdict) -> ResultVerdict:
    return ResultVerdict(
        task_id=result.task_id,
        lease_id=result.lease_id,
        status=verdict.status,
        code=verdict.code,
        message=verdict.message,
    )
