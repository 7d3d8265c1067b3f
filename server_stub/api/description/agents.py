"""The agents' wire: the base protocol as this server speaks it, and its extensions (docs/protocol.md)."""

from typing import Final

from lattice_agent.wire.base import WireModel
from lattice_agent.wire.config import AgentConfig
from lattice_agent.wire.debug import DebugAnswer, DebugReport
from lattice_agent.wire.envelope import Ok
from lattice_agent.wire.events import AgentEvent
from lattice_agent.wire.ext import ResultBatch, ResultBatchAnswer
from lattice_agent.wire.health import Health, Readiness, Version
from lattice_agent.wire.hello import Hello
from lattice_agent.wire.host_inventory import HostInventoryReport
from lattice_agent.wire.inventory import InventoryAnswer, InventoryReport
from lattice_agent.wire.logs import LogReport, LogSources
from lattice_agent.wire.metrics import Heartbeat
from lattice_agent.wire.monitors import Monitor, MonitorReport
from lattice_agent.wire.results import ResultReport
from lattice_agent.wire.tasks import LeasedTask
from lattice_agent.wire.terminal import TerminalEvents, TerminalSession
from lattice_agent.wire.usage import LEDGER_PATH, LedgerReport, UsageAnswer, UsageReport
from server_stub.api.description.operation import Operation
from server_stub.api.queries import AsNode, OfSession, PollTasks

_AGENT: Final = "/api/agent"
_TERMINAL: Final = f"{_AGENT}/terminal"
_SESSION: Final = f"{_TERMINAL}/sessions/{{session_id}}"


class NoSessions(WireModel):
    """``null``: there are no terminal sessions on this server."""

    sessions: tuple[TerminalSession, ...] | None = None


OPERATIONS: Final = (
    Operation("post", f"{_AGENT}/hello", "node", "Sent at start", Ok, Hello),
    Operation("post", f"{_AGENT}/metrics", "node", "The heartbeat", Ok, Heartbeat),
    Operation("post", f"{_AGENT}/inventory", "node", "What the host is, in detail", Ok, HostInventoryReport),
    Operation("get", f"{_AGENT}/config", "node", "The node's configuration", AgentConfig, None, AsNode),
    Operation(
        "get",
        f"{_AGENT}/tasks",
        "node",
        "Lease work",
        list[LeasedTask],
        None,
        PollTasks,
        headers=("X-Lattice-Task-Execution-Disabled",),
    ),
    Operation("post", f"{_AGENT}/task-result", "node", "One result", Ok, ResultReport, None, (403,)),
    Operation("post", f"{_AGENT}/task-results", "node", "Results in a batch", ResultBatchAnswer, ResultBatch),
    Operation("post", f"{_AGENT}/proxy-usage", "node", "A snapshot of counters", UsageAnswer, UsageReport),
    Operation("post", LEDGER_PATH, "node", "Totals of a ledger", UsageAnswer, LedgerReport),
    Operation("get", f"{_AGENT}/monitors", "node", "Probes to run: none here", list[Monitor], None, AsNode),
    Operation("post", f"{_AGENT}/monitor-result", "node", "Taken and forgotten", Ok, MonitorReport),
    Operation("get", f"{_AGENT}/log-sources", "node", "Logs to follow: none here", LogSources, None, AsNode),
    Operation("post", f"{_AGENT}/logs", "node", "Refused: there is no log store here", None, LogReport, None, (403,)),
    Operation("post", f"{_AGENT}/debug-events", "node", "Taken and forgotten", DebugAnswer, DebugReport),
    Operation("post", f"{_AGENT}/event", "node", "A login or another event, for the audit", Ok, AgentEvent),
    Operation("post", f"{_AGENT}/singbox-inventory", "node", "Counted, not kept", InventoryAnswer, InventoryReport),
    Operation("get", f"{_TERMINAL}/sessions", "node", "Terminal sessions: none here", NoSessions, None, AsNode),
    Operation("post", f"{_SESSION}/events", "node", "Refused: there are no sessions here", None, TerminalEvents),
    Operation("get", f"{_SESSION}/inputs", "node", "Refused: there are no sessions here", None, None, AsNode),
    Operation("get", f"{_AGENT}/control/stream", "node", "The control WebSocket", None, None, AsNode, success=101),
    Operation(
        "get", f"{_TERMINAL}/stream", "node", "Refused: there are no sessions here", None, None, OfSession, (404,)
    ),
    Operation("get", "/api/health", "anyone", "Whether the process answers", Health),
    Operation("get", "/readyz", "anyone", "Whether the database answers; 503 if not", Readiness),
    Operation("get", "/api/version", "anyone", "Versions, and the fleet's kill switch", Version),
)
