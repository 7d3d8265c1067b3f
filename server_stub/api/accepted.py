"""Endpoints of the base wire that have no feature behind them yet (protocol reference 1.7-1.11, 1.13): they validate,
accept, and answer that there is nothing, so that a Go agent works against this control plane without an error."""

from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from lattice_agent.wire.debug import DebugAnswer, DebugReport
from lattice_agent.wire.events import AgentEvent
from lattice_agent.wire.inventory import InventoryAnswer, InventoryReport
from lattice_agent.wire.logs import LogReport, LogSources
from lattice_agent.wire.monitors import MonitorReport
from lattice_agent.wire.terminal import TerminalEvents
from server_stub.actions.presence import take_event
from server_stub.api.answers import json_bytes, message, ok
from server_stub.api.body import read_message
from server_stub.api.gate import admit_node, admit_node_by_query, confirm_node
from server_stub.api.plane import plane_of
from server_stub.errors import Refused

_LOG_BODY_LIMIT: Final = 16 * 2**20
_NO_SESSIONS: Final = b'{"sessions":null}'
"""``null`` and not ``[]``: what the reference says when there are none."""


async def monitors(request: Request) -> Response:
    await admit_node_by_query(request)
    return json_bytes(b"[]")


async def monitor_result(request: Request) -> Response:
    credential = await admit_node(request)
    report = await read_message(request, MonitorReport)
    await confirm_node(request, credential, report.node_id)
    return ok()


async def log_sources(request: Request) -> Response:
    await admit_node_by_query(request)
    return message(LogSources())


async def logs(request: Request) -> Response:
    credential = await admit_node(request)
    report = await read_message(request, LogReport, _LOG_BODY_LIMIT)
    await confirm_node(request, credential, report.node_id)
    raise Refused(403, "unknown source for this node", code="capability_denied")


async def debug_events(request: Request) -> Response:
    credential = await admit_node(request)
    report = await read_message(request, DebugReport)
    await confirm_node(request, credential, report.node_id)
    if report.batch.node_id not in ("", report.node_id):
        raise Refused(400, "batch node_id does not match")
    return message(DebugAnswer(ok=True, accepted=0))


async def event(request: Request) -> Response:
    plane = plane_of(request)
    credential = await admit_node(request)
    sent = await read_message(request, AgentEvent)
    node_id = await confirm_node(request, credential, sent.node_id)
    await plane.write(partial(take_event, node_id=node_id, event=sent, now=plane.now()))
    return ok()


async def singbox_inventory(request: Request) -> Response:
    credential = await admit_node(request)
    report = await read_message(request, InventoryReport)
    await confirm_node(request, credential, report.node_id)
    return message(InventoryAnswer(ok=True, nodes=len(report.inventory.nodes)))


async def terminal_sessions(request: Request) -> Response:
    await admit_node_by_query(request)
    return json_bytes(_NO_SESSIONS)


async def terminal_events(request: Request) -> Response:
    credential = await admit_node(request)
    sent = await read_message(request, TerminalEvents)
    await confirm_node(request, credential, sent.node_id)
    raise Refused(400, "terminal session not found")


async def terminal_inputs(request: Request) -> Response:
    await admit_node_by_query(request)
    raise Refused(404, "terminal session not found")
