"""The operators' API under ``/api/v1`` (docs/protocol.md): its routes. Each subject has a file of its own."""

from starlette.routing import BaseRoute

from server_stub.api import (
    operator_fleet,
    operator_metrics,
    operator_nodes,
    operator_streams,
    operator_tasks,
    operator_usage,
    operators,
)


def routes() -> list[BaseRoute]:
    """Everything under ``/api/v1``."""
    return [
        *operators.routes(),
        *operator_nodes.routes(),
        *operator_metrics.routes(),
        *operator_usage.routes(),
        *operator_tasks.routes(),
        *operator_streams.routes(),
        *operator_fleet.routes(),
    ]
