"""Our extensions to the base wire (docs/protocol.md): announced by the server, used only while announced."""

from typing import Annotated, Final

from lattice_agent.wire.base import OMIT, Int, Items, WireModel
from lattice_agent.wire.results import TaskResult

EXT_VERSION: Final = 1
BATCH_RESULTS: Final = "results.batch"
BATCH_LEASES: Final = "tasks.batch"
HOST_INVENTORY: Final = "facts.inventory"
"""POST /api/agent/inventory is taken."""
USAGE_LEDGER: Final = "usage.ledger"
"""POST /api/agent/usage-ledger is taken."""
METRICS_DETAIL: Final = "metrics.detail"
"""A heartbeat may carry ``metrics_detail``."""
CONTROL_TASKS: Final = "control.tasks"
"""The control stream carries ``task.ready``, ``task.cancel``, ``drain`` and live output (``wire.control``)."""
RESULT_DETAIL: Final = "results.detail"
"""A result may carry ``detail`` (``wire.results.RunDetail``)."""
POLICY_SUMMARY: Final = "policy.summary"
"""A heartbeat may carry ``policy`` (``wire.policy.PolicySummary``)."""
MAX_RESULTS: Final = 32
"""Results in one POST /api/agent/task-results."""
MAX_LEASES: Final = 16
"""Tasks in one answer to GET /api/agent/tasks?max=N."""


class Announcement(WireModel):
    """``lattice_ext`` in the answers to hello and config."""

    v: Int = 0
    features: Items[str] = ()


class ResultBatch(WireModel):
    """POST /api/agent/task-results; the body limit is the same as everywhere (1 MiB)."""

    node_id: str = ""
    results: Items[TaskResult] = ()


class ResultVerdict(WireModel):
    """What POST /api/agent/task-result would have answered for this one result."""

    task_id: str = ""
    lease_id: str = ""
    status: Int = 0
    code: Annotated[str, OMIT] = ""
    message: Annotated[str, OMIT] = ""


class ResultBatchAnswer(WireModel):
    """One verdict per result, in the order of the request."""

    ok: bool = False
    results: Items[ResultVerdict] = ()
