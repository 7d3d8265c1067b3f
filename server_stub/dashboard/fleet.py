"""The fleet: all nodes, fifty at a time, by tag and text."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.api.plane import plane_of
from server_stub.dashboard.node_states import Shown, sandbox, states
from server_stub.dashboard.pages import render
from server_stub.dashboard.sparks import Spark, spark
from server_stub.dashboard.visits import Visitor, page
from server_stub.rules.facts import ONLINE_WINDOW
from server_stub.rules.metric_history import WINDOWS, shown_since
from server_stub.store.base import Tables
from server_stub.store.records import FleetSummary, Node, NodeQuery

_PAGE: Final = 50
_LONGEST: Final = 128
"""Characters of what is looked for; more would be in no name."""
_TAGS_SHOWN: Final = 60


@dataclass(frozen=True)
class Row:
    """A node of the table."""

    node: Node
    states: tuple[Shown, ...]
    sandbox: Shown
    load: Spark | None


@dataclass(frozen=True)
class Fleet:
    """One page of the table, and what is beyond it."""

    summary: FleetSummary
    rows: tuple[Row, ...]
    more: bool


async def show_fleet(request: Request, _visitor: Visitor) -> Response:
    plane = plane_of(request)
    given = request.query_params
    query = NodeQuery(*(given.get(name, "")[:_LONGEST].strip() for name in ("q", "tag", "after")))
    now = plane.now()
    fleet = await plane.read(lambda tables: _fleet(tables, query, now))
    tags = dict(list(fleet.summary.tags.items())[:_TAGS_SHOWN])
    return render(
        request, "fleet.html", fleet=fleet, query=query, tags=tags, now=now, next_page=_next_page(query, fleet)
    )


def _fleet(tables: Tables, query: NodeQuery, now: datetime) -> Fleet:
    found = tables.nodes.find(query, _PAGE + 1)
    rows = tuple(_row(tables, node, now) for node in found[:_PAGE])
    return Fleet(tables.nodes.summary(now - ONLINE_WINDOW), rows, len(found) > _PAGE)


def _row(tables: Tables, node: Node, now: datetime) -> Row:
    window = WINDOWS["1h"]
    since, step = shown_since(window, now), timedelta(seconds=window.step.seconds)
    loads = [(point.start, point.mean.load1) for point in tables.metrics.since(node.id, window.step, since)]
    return Row(node, states(node, now), sandbox(node), spark(loads, since, now, step))


def _next_page(query: NodeQuery, fleet: Fleet) -> str:
    if not fleet.more:
        return ""
    fields = {"q": query.text, "tag": query.tag, "after": fleet.rows[-1].node.id}
    return "/nodes?" + urlencode({name: value for name, value in fields.items() if value})


def routes() -> list[BaseRoute]:
    return [page("/nodes", show_fleet)]
