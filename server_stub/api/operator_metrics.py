"""The operators' API: the history of a node's metrics."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions.registry import get_node
from server_stub.api.answers import document
from server_stub.api.body import read_query
from server_stub.api.gate import admit_operator
from server_stub.api.plane import plane_of
from server_stub.api.queries import FindMetrics
from server_stub.api.shapes import MetricsShape, PointShape
from server_stub.errors import Refused
from server_stub.rules.metric_history import WINDOWS, MetricPoint, Window, shown_since
from server_stub.store.base import Tables
from server_stub.store.records import Node
from server_stub.times import text

DEFAULT_RANGE: Final = "1h"


async def show_metrics(request: Request) -> Response:
    """Means by step; where the node reported nothing there is no point."""
    plane = plane_of(request)
    await admit_operator(request)
    window = window_of(read_query(request, FindMetrics).range)
    node_id, since = request.path_params["node_id"], shown_since(window, plane.now())

    def work(tables: Tables) -> tuple[Node, list[MetricPoint]]:
        return get_node(tables, node_id), tables.metrics.since(node_id, window.step, since)

    node, points = await plane.read(work)
    metrics = node.presence.metrics or {}
    shown: MetricsShape = {
        "step_s": window.step.seconds,
        "points": [_point_view(point) for point in points],
        "memory_total": metrics.get("memory_total", 0),
        "disk_total": metrics.get("disk_total", 0),
    }
    return document(shown)


def window_of(name: str) -> Window:
    """``Refused`` 400 for a range that there is not."""
    if name not in WINDOWS:
        raise Refused(400, f"range: must be one of {', '.join(WINDOWS)}")
    return WINDOWS[name]


def _point_view(point: MetricPoint) -> PointShape:
    mean = point.mean
    return {
        "time": text(point.start),
        "cpu_percent": round(mean.cpu_percent, 2),
        "load1": round(mean.load1, 3),
        "memory_used": round(mean.memory_used),
        "disk_used": round(mean.disk_used),
        "rx_speed": round(mean.rx_speed),
        "tx_speed": round(mean.tx_speed),
    }


def routes() -> list[BaseRoute]:
    return [Route("/api/v1/nodes/{node_id}/metrics", show_metrics, methods=["GET"])]
