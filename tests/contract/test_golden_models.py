"""Every recorded exchange parses in both roles, and what we write has the recorded keys, types and formats."""

import json
import re
from typing import Any

import pytest

from lattice_agent.wire.base import WireError, WireModel, decode, encode, parse
from lattice_agent.wire.config import AgentConfig
from lattice_agent.wire.debug import DebugAnswer, DebugReport
from lattice_agent.wire.envelope import ErrorEnvelope, Ok
from lattice_agent.wire.events import AgentEvent
from lattice_agent.wire.health import Health, Readiness, Version
from lattice_agent.wire.hello import Hello
from lattice_agent.wire.inventory import InventoryAnswer, InventoryReport
from lattice_agent.wire.logs import LogAnswer, LogReport, LogSources
from lattice_agent.wire.metrics import Heartbeat
from lattice_agent.wire.monitors import Monitor, MonitorReport
from lattice_agent.wire.results import ResultReport
from lattice_agent.wire.tasks import LeasedTask
from lattice_agent.wire.terminal import ControlFrame, TerminalEvents, TerminalInputs, TerminalSession, TerminalSessions
from lattice_agent.wire.usage import UsageAnswer, UsageReport
from tests.golden_files import Exchange, exchanges

REQUESTS: dict[str, type[WireModel]] = {
    "/api/agent/hello": Hello,
    "/api/agent/metrics": Heartbeat,
    "/api/agent/task-result": ResultReport,
    "/api/agent/proxy-usage": UsageReport,
    "/api/agent/monitor-result": MonitorReport,
    "/api/agent/logs": LogReport,
    "/api/agent/debug-events": DebugReport,
    "/api/agent/event": AgentEvent,
    "/api/agent/singbox-inventory": InventoryReport,
}
ANSWERS: dict[str, type[WireModel]] = {
    "/api/agent/hello": Ok,
    "/api/agent/metrics": Ok,
    "/api/agent/task-result": Ok,
    "/api/agent/event": Ok,
    "/api/agent/monitor-result": Ok,
    "/api/agent/config": AgentConfig,
    "/api/agent/proxy-usage": UsageAnswer,
    "/api/agent/log-sources": LogSources,
    "/api/agent/logs": LogAnswer,
    "/api/agent/debug-events": DebugAnswer,
    "/api/agent/singbox-inventory": InventoryAnswer,
    "/api/agent/terminal/sessions": TerminalSessions,
    "/api/health": Health,
    "/readyz": Readiness,
    "/api/version": Version,
}
LISTS: dict[str, type[WireModel]] = {"/api/agent/tasks": LeasedTask, "/api/agent/monitors": Monitor}
# Recorded with hand-made requests that leave out or null what the Go agent always sends, or that are wrong on
# purpose; they are read, but our own writing is not compared with them.
HAND_MADE = {
    "metrics-minimal",
    "task-result-null-fields-200",
    "terminal-events-output",  # no "error" key
    "event-other",
    "usage-after-empty",
    "usage-empty-map",
    "usage-line-bytes-unknown-line",
    "usage-null-map",
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def request_model(e: Exchange) -> type[WireModel] | None:
    if e.path.startswith("/api/agent/terminal/sessions/") and e.path.endswith("/events"):
        return TerminalEvents
    return REQUESTS.get(e.path) if e.method == "POST" else None


def by_name(e: Exchange) -> str:
    return e.name


WITH_BODY = [e for e in exchanges() if e.body is not None and request_model(e) is not None]
ACCEPTED = [e for e in WITH_BODY if e.status == 200]
OURS = [e for e in ACCEPTED if e.name not in HAND_MADE]
# metrics-wrong-types-400 is missing: the stand-ins of the recording replaced the very value that was wrong
# ("a number where a string belongs"), so what is on file is a valid heartbeat.
REFUSED_FOR_TYPE = {
    "task-result-wrong-types-400",
    "task-result-float-exit-400",
    "task-result-bad-time-400",
    "usage-fractional-400",
    "usage-negative-uptime-400",
    "singbox-inventory-port-number-400",
}


@pytest.mark.parametrize("e", ACCEPTED, ids=by_name)
def test_server_role_reads_every_accepted_request(e: Exchange) -> None:
    model = request_model(e)
    assert model is not None
    message = decode(model, json.dumps(e.body).encode())
    assert getattr(message, "node_id") == e.body["node_id"]  # noqa: B009  # every request model has it


@pytest.mark.parametrize("e", [e for e in WITH_BODY if e.name in REFUSED_FOR_TYPE], ids=by_name)
def test_trap_01_wrong_types_are_refused_as_go_refuses_them(e: Exchange) -> None:
    model = request_model(e)
    assert model is not None
    with pytest.raises(WireError, match=r"\w+Report|Heartbeat"):
        decode(model, json.dumps(e.body).encode())


def test_every_type_error_on_record_is_covered() -> None:
    assert {e.name for e in WITH_BODY} >= REFUSED_FOR_TYPE


@pytest.mark.parametrize("e", OURS, ids=by_name)
def test_agent_role_writes_the_recorded_shape(e: Exchange) -> None:
    model = request_model(e)
    assert model is not None
    written = json.loads(encode(parse(model, e.body)))
    assert shape_of(written) == shape_of(e.body)


@pytest.mark.parametrize("e", [e for e in exchanges() if e.status == 200 and e.answer is not None], ids=by_name)
def test_agent_role_reads_every_answer(e: Exchange) -> None:
    if e.path in LISTS:
        items = [parse(LISTS[e.path], item) for item in e.answer]
        assert [shape_of(json.loads(encode(item))) for item in items] == [shape_of(item) for item in e.answer]
    elif e.path.endswith("/inputs"):
        assert parse(TerminalInputs, e.answer).session.id == e.answer["session"]["id"]
    elif e.path.endswith("/events"):
        assert parse(TerminalSession, e.answer).id == e.answer["id"]
    else:
        message = parse(ANSWERS[e.path], e.answer)
        assert shape_of(json.loads(encode(message))) == shape_of(e.answer) or e.name == "terminal-sessions-null"


@pytest.mark.parametrize("e", [e for e in exchanges() if e.status >= 400 and e.answer is not None], ids=by_name)
def test_agent_role_reads_every_error(e: Exchange) -> None:
    envelope = parse(ErrorEnvelope, e.answer)
    assert envelope.error.code == e.answer["error"]["code"]
    assert envelope.error.request_id == e.answer_headers["x-lattice-request-id"]


def test_control_frames_parse() -> None:
    frames = [frame for e in exchanges() for frame in e.frames_after]
    assert frames
    assert {parse(ControlFrame, frame).type for frame in frames} == {"terminal.open"}


def shape_of(value: Any) -> Any:
    """Keys, JSON types and the format of times; numbers are one type, as in JSON."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape_of(item) for item in value]
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    if isinstance(value, int | float):
        return "number"
    return "time" if TIME.fullmatch(value) else "string"
