"""What the store keeps, as frozen values. Times are aware datetimes in UTC."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from server_stub.rules.accounts import Account
from server_stub.rules.addresses import Addresses
from server_stub.rules.billing_calendar import Span
from server_stub.rules.states import TaskStatus
from server_stub.rules.usage_report import Health

BY_OPERATOR = "operator"
BY_AGENT = "agent"


@dataclass(frozen=True)
class Credential:
    """What authentication needs to know of a node; kept in memory beside the database."""

    node_id: str
    token_sha256: bytes
    disabled: bool


@dataclass(frozen=True)
class StoredInventory:
    """What a node last reported of its host (JSON object)."""

    node_id: str
    received_at: datetime
    document: dict[str, Any]


@dataclass(frozen=True)
class Presence:
    """What a node last said about itself. The five documents are JSON objects, ``None`` while unknown."""

    last_seen: datetime | None = None
    agent_version: str = ""
    addresses: Addresses = field(default_factory=Addresses)
    host_facts: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    agent_runtime: dict[str, Any] | None = None
    metrics_detail: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None


@dataclass(frozen=True)
class Node:
    """A registered node. ``overrides`` is what its config answer carries beyond the defaults (JSON object)."""

    id: str
    name: str
    identity_uuid: str
    created_at: datetime
    disabled: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)
    tags: tuple[str, ...] = ()
    draining: bool = False
    """It is handed no tasks; what runs on it may end."""


@dataclass(frozen=True)
class NodeQuery:
    """Nodes with an id after ``after`` that have the tag and contain the text, in either case of its letters, in id,
    name, hostname or agent version. An empty field asks for nothing."""

    text: str = ""
    tag: str = ""
    after: str = ""


@dataclass(frozen=True)
class FleetSummary:
    """How many nodes there are. A disabled one is neither online nor offline; a draining one may be either."""

    total: int
    online: int
    offline: int
    disabled: int
    draining: int
    tags: dict[str, int]


@dataclass(frozen=True)
class Operator:
    name: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Task:
    """A task without its targets; ``attempts`` is the most leases that any of them had."""

    id: str
    actor: str
    interpreter: str
    script: str
    script_sha256: str
    timeout_sec: int
    output_limit: int
    created_at: datetime
    nodes: tuple[str, ...]
    status: TaskStatus = TaskStatus.QUEUED
    reason: str = ""
    attempts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    concurrency: int = 0
    """Targets that may be leased at once; 0 is all."""
    max_failures: int = 0
    """When so many targets have failed, those that are still queued are cancelled; 0 is never."""
    queue_timeout_sec: int = 0
    """A target that is queued for longer times out; 0 is never."""
    rerun_of: str = ""


@dataclass(frozen=True)
class StoredResult:
    """A result as an operator sees it."""

    node_id: str
    exit_code: int
    stdout: str
    stderr: str
    error: str
    started_at: datetime | None
    finished_at: datetime
    received_at: datetime
    detail: dict[str, Any] | None = None
    """``RunDetail`` as it came; None from an agent that does not speak ``results.detail``."""


@dataclass(frozen=True)
class Profile:
    """That usage is counted on a node, and how its collector fares."""

    node_id: str
    created_at: datetime
    health: Health | None = None
    last_report_at: datetime | None = None


@dataclass(frozen=True)
class User:
    """A proxy user: the account, and what only operators look at."""

    account: Account
    name: str
    created_at: datetime
    last_seen_at: datetime | None = None
    per_node: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class UserQuery:
    """Users with an id after ``after`` that contain the text, in either case of its letters, in id or name, and that
    are counted on the node. An empty field asks for nothing."""

    text: str = ""
    node_id: str = ""
    after: str = ""
    user_id: str = ""


@dataclass(frozen=True)
class Booking:
    """Bytes of a user on a node in one hour, day or billing month that began at ``start``."""

    span: Span
    start: datetime
    user_id: str
    node_id: str
    bytes: int


@dataclass(frozen=True)
class BookingQuery:
    """Spans that began from ``since`` on and before ``until``, if there is one; an empty id means all."""

    span: Span
    since: datetime
    until: datetime | None = None
    user_id: str = ""
    node_id: str = ""


@dataclass(frozen=True)
class AuditEvent:
    """One decision. ``decision`` is ``allow`` or ``deny``; ``origin`` says whose retention it counts against."""

    time: datetime
    actor: str
    action: str
    target: str = ""
    node_id: str = ""
    decision: str = "allow"
    reason: str = ""
    origin: str = BY_OPERATOR
    detail: dict[str, Any] = field(default_factory=dict)
    id: int = 0
