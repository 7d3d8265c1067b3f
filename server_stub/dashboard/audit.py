"""The audit: who decided what, newest first, searched by words."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.api.body import read_number
from server_stub.api.plane import plane_of
from server_stub.dashboard.pages import render
from server_stub.dashboard.visits import Visitor, page
from server_stub.reported import pairs
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent

_PAGE: Final = 100
_LONGEST: Final = 256
_LAST_ID: Final = 10**15
_VALUE: Final = 4_096


async def show_audit(request: Request, _visitor: Visitor) -> Response:
    plane = plane_of(request)
    given = request.query_params
    query = {name: given.get(name, "")[:_LONGEST].strip() for name in ("q", "action", "node")}
    before = read_number(request, "before", 0, _LAST_ID) or None

    def work(tables: Tables) -> list[AuditEvent]:
        action, node_id = query["action"] or None, query["node"] or None
        return tables.audit.newest(action=action, node_id=node_id, limit=_PAGE + 1, words=query["q"], before=before)

    found = await plane.read(work)
    events = found[:_PAGE]
    next_page = ""
    if len(found) > _PAGE:
        fields = {**query, "before": str(events[-1].id)}
        next_page = "/audit?" + urlencode({name: value for name, value in fields.items() if value})
    rows = [(event, list(pairs(event.detail, _VALUE))) for event in events]
    return render(request, "audit.html", rows=rows, query=query, before=before, next_page=next_page)


def routes() -> list[BaseRoute]:
    return [page("/audit", show_audit)]
