"""The shapes of what operators are shown. ``views`` builds its answers from them, so that the type checker holds both
together, and the description of the API (``server_stub.api.description``) is made from them.

Times are RFC 3339 in UTC with ``Z``; ``null`` is for what is not known.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from server_stub.rules.accounts import UserStatus
from server_stub.rules.billing_calendar import Span
from server_stub.rules.outcomes import TargetOutcome
from server_stub.rules.policy_preview import Verdict
from server_stub.rules.states import TargetState, TaskStatus

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Document = dict[str, Any]
"""As a node sent it, cut to size; the models of the agents' wire say what may be in it."""


class AddressesShape(TypedDict):
    """What is known of a node's network; "" and 0 are not known."""

    public_ip: str
    public_ipv6: str
    internal_ip: str
    internal_ipv6: str
    wireguard_ip: str
    wireguard_public_key: str
    wireguard_endpoint: str
    wireguard_port: int


class NodeShape(TypedDict):
    """A registered node and what it last said of itself."""

    id: str
    name: str
    created_at: Moment
    disabled: bool
    tags: list[str]
    draining: bool
    online: bool
    last_seen: Moment | None
    agent_version: str
    addresses: AddressesShape
    host_facts: Document | None
    metrics: Document | None
    agent_runtime: Document | None
    metrics_detail: Document | None
    policy: Document | None
    control_stream: bool
    config: Document


class InventoryShape(TypedDict):
    """Both null while the node has reported none."""

    inventory: Document | None
    received_at: Moment | None


class OperatorShape(TypedDict):
    """Somebody with an operator's token, or who had one."""

    name: str
    created_at: Moment
    revoked_at: Moment | None


class TaskShape(TypedDict):
    """``outcomes`` counts targets. The script is there only where one task is shown and it was asked for: whoever may
    list tasks need not see what they do."""

    id: str
    actor: str
    nodes: list[str]
    interpreter: str
    script_sha256: str
    script_size_bytes: int
    timeout_sec: int
    output_limit: int
    concurrency: int
    max_failures: int
    queue_timeout_sec: int
    rerun_of: str
    status: TaskStatus
    reason: str
    outcomes: dict[str, int]
    attempts: int
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    script: NotRequired[str]


class TargetShape(TypedDict):
    """A task on one node. ``outcome`` and ``text``: what has become of it so far."""

    node_id: str
    state: TargetState
    outcome: TargetOutcome
    text: str
    attempts: int
    leased_at: Moment | None
    running_since: Moment | None
    finished_at: Moment | None
    cancel_requested_at: Moment | None
    lease_expires_at: Moment | None


class EndingShape(TypedDict):
    """What one node sent when the task had ended there. ``detail`` is null from agents that send none."""

    node_id: str
    outcome: TargetOutcome
    text: str
    exit_code: int
    error: str
    detail: Document | None
    started_at: Moment | None
    finished_at: Moment
    received_at: Moment


class ResultShape(EndingShape):
    """With what the script has printed."""

    stdout: str
    stderr: str


class WholeTaskShape(TaskShape):
    """One task with its targets."""

    targets: list[TargetShape]


class TaskWithResultsShape(WholeTaskShape):
    """With the results that there are."""

    results: list[ResultShape]


class ToldTaskShape(WholeTaskShape):
    """With the results that there are, but for what the scripts have printed."""

    results: list[EndingShape]


class ProfileShape(TypedDict):
    """That usage is counted on a node, and how its collector fares; "" is not known."""

    node_id: str
    collector_source: str
    collector_status: str
    collector_error: str
    checked_at: Moment | None
    last_report_at: Moment | None


class UserShape(TypedDict):
    """A proxy user. ``per_node`` counts bytes for ever, ``used_bytes`` since ``period_start``, if there is one."""

    id: str
    name: str
    used_bytes: int
    quota_bytes: int
    reset_day: int
    period_start: Moment | None
    status: UserStatus
    enabled: bool
    expires_at: Moment | None
    nodes: list[str]
    last_seen_at: Moment | None
    per_node: dict[str, int]


class BookingShape(TypedDict):
    """Bytes of a user on a node in the hour, day or billing month that began at ``start``."""

    start: Moment
    user_id: str
    node_id: str
    bytes: int


class EventShape(TypedDict):
    """A decision in the audit."""

    id: int
    time: Moment
    actor: str
    action: str
    target: str
    node_id: str
    decision: Annotated[str, Field(json_schema_extra={"enum": ["allow", "deny"]})]
    reason: str
    detail: Document


class PreviewShape(TypedDict):
    """What a node would say to a task. ``timeout_sec`` and ``output_limit`` are what the task would get."""

    node_id: str
    verdict: Verdict
    text: str
    level: str
    timeout_sec: int
    output_limit: int
    online: bool


class PointShape(TypedDict):
    """Means of one step that began at ``time``. Sizes are bytes, speeds bytes a second."""

    time: Moment
    cpu_percent: float
    load1: float
    memory_used: int
    disk_used: int
    rx_speed: int
    tx_speed: int


class MetricsShape(TypedDict):
    """Oldest first; where the node reported nothing there is no point. Totals are of now, 0 while not known."""

    step_s: int
    points: list[PointShape]
    memory_total: int
    disk_total: int


class OutputPiece(TypedDict):
    """Bytes of one stream in base64. ``position`` counts both streams, ``offset`` this one."""

    stream: Annotated[str, Field(json_schema_extra={"enum": ["stdout", "stderr"]})]
    position: int
    offset: int
    data: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]


class OutputEnd(TypedDict):
    """The target has ended without a result."""

    outcome: TargetOutcome
    text: str


class OutputResult(TypedDict):
    """The result is stored, and counts instead of what was shown before."""

    result: ResultShape


class NodeAnswer(TypedDict):
    node: NodeShape


class NewNodeAnswer(NodeAnswer):
    """The only answer that has the token."""

    token: str


class NodesAnswer(TypedDict):
    nodes: list[NodeShape]


class TokenAnswer(TypedDict):
    token: str


class OperatorAnswer(TypedDict):
    operator: OperatorShape


class NewOperatorAnswer(OperatorAnswer):
    """The only answer that has the token."""

    token: str


class OperatorsAnswer(TypedDict):
    operators: list[OperatorShape]


class ProfileAnswer(TypedDict):
    profile: ProfileShape


class UserAnswer(TypedDict):
    user: UserShape


class UsersAnswer(TypedDict):
    users: list[UserShape]


class UsageShown(TypedDict):
    users: list[UserShape]
    nodes: list[ProfileShape]


# "from" is no name for a field in Python.
BookingsAnswer = TypedDict(
    "BookingsAnswer", {"by": Span, "from": Moment, "to": Moment | None, "bookings": list[BookingShape]}
)


class TaskAnswer(TypedDict):
    task: WholeTaskShape


class TaskWithResultsAnswer(TypedDict):
    task: TaskWithResultsShape


class PreviewAnswer(TypedDict):
    nodes: list[PreviewShape]


class TasksAnswer(TypedDict):
    tasks: list[TaskShape]


class EventsAnswer(TypedDict):
    events: list[EventShape]


class KillSwitchAnswer(TypedDict):
    task_execution_disabled: bool
