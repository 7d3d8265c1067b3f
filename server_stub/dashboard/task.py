"""One task: how it fares on each node, the life and the output of one of them, and its script."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions.tasks import ShownTask, show_task
from server_stub.api.plane import plane_of
from server_stub.dashboard import timeline
from server_stub.dashboard.pages import HEADERS, render
from server_stub.dashboard.task_rows import TargetRow, headline, progress, target_row
from server_stub.dashboard.visits import Visitor, page
from server_stub.errors import Refused
from server_stub.rules.states import OPEN_STATUSES
from server_stub.store.base import Tables
from server_stub.store.records import StoredResult

_STREAMS: Final = ("stdout", "stderr")
_READ_HERE: Final = 64 * 1024
"""Characters of a stream in the page itself, for those who read without scripts; a download has all of it."""


@dataclass(frozen=True)
class _Look:
    """A task with one of its nodes looked at more closely."""

    shown: ShownTask
    chosen: TargetRow
    result: StoredResult | None


async def show(request: Request, _visitor: Visitor) -> Response:
    return await _answer(request, "task.html")


async def show_state(request: Request, _visitor: Visitor) -> Response:
    """What changes of the page, for the script that keeps it fresh."""
    return await _answer(request, "task_state.html")


async def download(request: Request, _visitor: Visitor) -> Response:
    """One stream of a result, as the node sent it. A browser saves it whatever is in it."""
    look = await _look(request)
    stream = request.query_params.get("stream")
    if stream not in _STREAMS or look.result is None:
        raise Refused(404, "there is no such output")
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{look.shown.task.id}-{look.chosen.node_id}-{stream}.txt")
    headers = HEADERS | {"content-disposition": f'attachment; filename="{name}"'}
    text: str = getattr(look.result, stream)
    # Surrogates cannot be stored, so nothing is replaced here.
    return Response(text.encode(errors="replace"), headers=headers, media_type="text/plain; charset=utf-8")


async def _answer(request: Request, template: str) -> Response:
    look = await _look(request)
    task, result = look.shown.task, look.result
    rows = [target_row(target) for target in look.shown.targets]
    return render(
        request,
        template,
        task=task,
        headline=headline(task.script),
        is_open=task.status in OPEN_STATUSES,
        rows=rows,
        progress=progress(look.shown.targets),
        cancellable=sum(row.can_be_cancelled for row in rows),
        to_rerun=sum(row.word != "succeeded" for row in rows),
        chosen=look.chosen,
        steps=timeline.steps(task, look.chosen, result),
        clocks=timeline.clocks(task, look.chosen.target, result),
        detail=timeline.detail_of(result),
        result=result,
        streams=[] if result is None else [_stream(name, getattr(result, name)) for name in _STREAMS],
        output_url=f"/api/v1/tasks/{task.id}/output?{urlencode({'node': look.chosen.node_id})}",
        now=plane_of(request).now(),
    )


def _stream(name: str, text: str) -> dict[str, object]:
    return {"name": name, "text": text[:_READ_HERE], "cut": len(text) > _READ_HERE, "bytes": len(text.encode())}


async def _look(request: Request) -> _Look:
    """The node that is asked for, or the first one."""
    task_id, wanted = request.path_params["task_id"], request.query_params.get("node")

    def work(tables: Tables) -> _Look:
        shown = show_task(tables, task_id, streams=False)
        target = next((target for target in shown.targets if wanted in (None, target.node_id)), None)
        if target is None:
            raise Refused(404, f"task {task_id} is not for node {wanted}")
        result = tables.tasks.stored_result(task_id, target.node_id)
        return _Look(shown, target_row(target), result)

    return await plane_of(request).read(work)


def routes() -> list[BaseRoute]:
    return [
        page("/tasks/{task_id}", show),
        page("/tasks/{task_id}/state", show_state),
        page("/tasks/{task_id}/download", download),
    ]
