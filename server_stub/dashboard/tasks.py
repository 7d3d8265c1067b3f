"""The newest tasks, in words."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.api.plane import plane_of
from server_stub.dashboard.outcome_words import word
from server_stub.dashboard.pages import render
from server_stub.dashboard.task_rows import TaskRow, task_row
from server_stub.dashboard.visits import Visitor, page
from server_stub.rules.outcomes import TargetOutcome
from server_stub.rules.states import TaskStatus
from server_stub.store.base import Tables

_SHOWN: Final = 100
_SEARCHED: Final = 1_000
"""Newest tasks among which an outcome is looked for."""


async def list_tasks(request: Request, _visitor: Visitor) -> Response:
    """Filters that make no sense are ignored: the page shows which ones are in force."""
    query = request.query_params
    status = query.get("status") if query.get("status") in set(TaskStatus) else None
    outcome = query.get("outcome") if query.get("outcome") in set(TargetOutcome) else None
    node_id = query.get("node", "").strip()[:128] or None

    def work(tables: Tables) -> list[TaskRow]:
        found = tables.tasks.newest_ids(node_id=node_id, status=status, limit=_SEARCHED if outcome else _SHOWN)
        counts = tables.tasks.outcomes(found)
        wanted = [task_id for task_id in found if not outcome or counts[task_id].get(outcome)]
        tasks = filter(None, map(tables.tasks.get, wanted[:_SHOWN]))
        return [task_row(task, counts[task.id]) for task in tasks]

    plane = plane_of(request)
    return render(
        request,
        "tasks.html",
        rows=await plane.read(work),
        shown=_SHOWN,
        now=plane.now(),
        wanted={"status": status or "", "outcome": outcome or "", "node": node_id or ""},
        statuses=[(str(value), str(value)) for value in TaskStatus],
        outcomes=[(str(value), word(value)) for value in TargetOutcome],
    )


def routes() -> list[BaseRoute]:
    return [page("/tasks", list_tasks)]
