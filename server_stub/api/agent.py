"""The wire of the agent: routes, and the endpoints of presence, configuration and usage (protocol reference 1.2-1.4,
1.6). The other topics have files of their own."""

from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lattice_agent.wire.base import parse
from lattice_agent.wire.config import AgentConfig, DebugConfig, IpConfig
from lattice_agent.wire.envelope import Ok
from lattice_agent.wire.ext import (
    BATCH_LEASES,
    BATCH_RESULTS,
    CONTROL_TASKS,
    EXT_VERSION,
    HOST_INVENTORY,
    METRICS_DETAIL,
    POLICY_SUMMARY,
    RESULT_DETAIL,
    USAGE_LEDGER,
    Announcement,
)
from lattice_agent.wire.hello import Hello
from lattice_agent.wire.host_inventory import HostInventoryReport
from lattice_agent.wire.metrics import Heartbeat
from lattice_agent.wire.usage import LEDGER_PATH, LedgerReport, UsageReport
from server_stub.actions.presence import take_heartbeat, take_hello, take_inventory
from server_stub.actions.registry import get_node
from server_stub.actions.usage import take_ledger, take_usage
from server_stub.api import accepted, agent_tasks, control_stream
from server_stub.api.answers import message, ok
from server_stub.api.body import read_message
from server_stub.api.gate import admit_node, admit_node_by_query, confirm_node, source_address
from server_stub.api.plane import plane_of
from server_stub.store.base import Tables
from server_stub.store.records import Node

EXTENSIONS: Final = Announcement(
    v=EXT_VERSION,
    features=(
        *(BATCH_RESULTS, BATCH_LEASES, HOST_INVENTORY, METRICS_DETAIL, USAGE_LEDGER),
        *(CONTROL_TASKS, RESULT_DETAIL, POLICY_SUMMARY),
    ),
)
_DEBUG_LINE_BYTES: Final = 4_096
_DEBUG_BATCH_LINES: Final = 100
_ANY_METHOD: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
"""Of handlers that don't look at the method in the reference; the others answer 405."""


async def hello(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    sent = await read_message(request, Hello)
    node_id = await confirm_node(request, credential, sent.node_id)
    observed = source_address(request)
    await plane.write(partial(take_hello, node_id=node_id, hello=sent, observed=observed, now=plane.now()))
    return message(Ok(ok=True, lattice_ext=EXTENSIONS))


async def metrics(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    beat = await read_message(request, Heartbeat)
    node_id = await confirm_node(request, credential, beat.node_id)
    observed = source_address(request)
    await plane.write(partial(take_heartbeat, node_id=node_id, beat=beat, observed=observed, now=plane.now()))
    return ok()


async def inventory(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    report = await read_message(request, HostInventoryReport)
    node_id = await confirm_node(request, credential, report.node_id)
    await plane.write(partial(take_inventory, node_id=node_id, inventory=report.inventory, now=plane.now()))
    return ok()


async def config(request: Request) -> Response:
    plane = plane_of(request)
    node_id = await admit_node_by_query(request)
    node, execution_disabled = await plane.read(partial(_config_rows, node_id=node_id))
    return message(agent_config(node, execution_disabled=execution_disabled))


def _config_rows(tables: Tables, node_id: str) -> tuple[Node, bool]:
    return get_node(tables, node_id), tables.switches.task_execution_disabled()


def agent_config(node: Node, *, execution_disabled: bool) -> AgentConfig:
    """The node's configuration. ``collect`` is off: there is no log store. A script that would learn the address is
    withheld while the fleet's kill switch is on."""
    overrides: dict[str, Any] = node.overrides
    ip_config = parse(IpConfig, overrides["ip_config"]) if overrides.get("ip_config") else None
    if ip_config is not None and ip_config.mode == "script" and execution_disabled:
        ip_config = None
    debug = DebugConfig(
        enabled=bool(overrides.get("debug")),
        collect=False,
        max_line_bytes=_DEBUG_LINE_BYTES,
        max_batch_lines=_DEBUG_BATCH_LINES,
    )
    return AgentConfig(
        debug=debug,
        terminal_transport=overrides.get("terminal_transport", ""),
        ip_config=ip_config,
        lattice_identity_uuid=node.identity_uuid,
        lattice_ext=EXTENSIONS,
    )


async def proxy_usage(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    report = await read_message(request, UsageReport)
    node_id = await confirm_node(request, credential, report.node_id)
    book = partial(take_usage, node_id=node_id, snapshot=report.snapshot, now=plane.now())
    return message(await plane.write(book))


async def usage_ledger(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    report = await read_message(request, LedgerReport)
    node_id = await confirm_node(request, credential, report.node_id)
    return message(await plane.write(partial(take_ledger, node_id=node_id, sent=report, now=plane.now())))


def routes() -> list[BaseRoute]:
    """Everything under ``/api/agent``."""
    return [
        Route("/api/agent/hello", hello, methods=_ANY_METHOD),
        Route("/api/agent/metrics", metrics, methods=_ANY_METHOD),
        Route("/api/agent/inventory", inventory, methods=["POST"]),
        Route("/api/agent/config", config, methods=["GET"]),
        Route("/api/agent/tasks", agent_tasks.tasks, methods=_ANY_METHOD),
        Route("/api/agent/task-result", agent_tasks.task_result, methods=_ANY_METHOD),
        Route("/api/agent/task-results", agent_tasks.task_results, methods=["POST"]),
        Route("/api/agent/proxy-usage", proxy_usage, methods=["POST"]),
        Route(LEDGER_PATH, usage_ledger, methods=["POST"]),
        Route("/api/agent/monitors", accepted.monitors, methods=_ANY_METHOD),
        Route("/api/agent/monitor-result", accepted.monitor_result, methods=_ANY_METHOD),
        Route("/api/agent/log-sources", accepted.log_sources, methods=_ANY_METHOD),
        Route("/api/agent/logs", accepted.logs, methods=["POST"]),
        Route("/api/agent/debug-events", accepted.debug_events, methods=["POST"]),
        Route("/api/agent/event", accepted.event, methods=_ANY_METHOD),
        Route("/api/agent/singbox-inventory", accepted.singbox_inventory, methods=["POST"]),
        Route("/api/agent/terminal/sessions", accepted.terminal_sessions, methods=["GET"]),
        Route("/api/agent/terminal/sessions/{session_id}/events", accepted.terminal_events, methods=["POST"]),
        Route("/api/agent/terminal/sessions/{session_id}/inputs", accepted.terminal_inputs, methods=["GET"]),
        *control_stream.routes(),
    ]
