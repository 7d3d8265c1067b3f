"""The operator API's answers, as far as a command shows them.

Read like messages of the wire: unknown fields are ignored, ``null`` is the empty value, a wrong type is an
``AnswerError`` that names the field. ``--json`` prints the answer itself and never passes through here.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from lattice_agent.wire.base import Int, Items, Time, WireError, WireModel, parse
from server_stub.cli.errors import AnswerError
from server_stub.rules.states import OPEN_STATUSES


class Node(WireModel):
    """A node. The mappings are what its agent reported, shown as they come."""

    id: str
    name: str = ""
    created_at: Time = None
    disabled: bool = False
    online: bool = False
    last_seen: Time = None
    agent_version: str = ""
    addresses: Mapping[str, Any] = {}
    host_facts: Mapping[str, Any] = {}
    metrics: Mapping[str, Any] = {}
    agent_runtime: Mapping[str, Any] = {}
    metrics_detail: Mapping[str, Any] = {}


class NodeAnswer(WireModel):
    """One node."""

    node: Node


class InventoryAnswer(WireModel):
    """What a node reported of its host: families, each a group of fields or a list of such groups."""

    inventory: Mapping[str, Any] = {}
    received_at: Time = None


class TokenAnswer(WireModel):
    """A node token that was just made."""

    token: str


class NodeList(WireModel):
    """All nodes."""

    nodes: Items[Node] = ()


class User(WireModel):
    """A proxy user; quota and reset day 0 are none, no nodes are all. Bytes: used since ``period_start``, or ever."""

    id: str
    name: str = ""
    used_bytes: Int = 0
    quota_bytes: Int = 0
    reset_day: Int = 0
    period_start: Time = None
    status: str = ""
    enabled: bool = False
    expires_at: Time = None
    nodes: Items[str] = ()
    last_seen_at: Time = None
    per_node: Mapping[str, Int] = {}


class UserAnswer(WireModel):
    """One user."""

    user: User


class UserList(WireModel):
    """All users."""

    users: Items[User] = ()


class Result(WireModel):
    """What one node sent back for a task."""

    node_id: str = ""
    exit_code: Int = 0
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    started_at: Time = None
    finished_at: Time = None
    received_at: Time = None


class Task(WireModel):
    """A task; sizes in bytes. ``results`` only where one task was asked for."""

    id: str
    actor: str = ""
    nodes: Items[str] = ()
    interpreter: str = ""
    script_sha256: str = ""
    script_size_bytes: Int = 0
    timeout_sec: Int = 0
    output_limit: Int = 0
    status: str = ""
    reason: str = ""
    attempts: Int = 0
    created_at: Time = None
    started_at: Time = None
    finished_at: Time = None
    results: Items[Result] = ()

    @property
    def ended(self) -> bool:
        """Neither queued nor leased: a status of a newer server that we do not know is an end, too."""
        return self.status not in OPEN_STATUSES


class TaskAnswer(WireModel):
    """One task."""

    task: Task


class TaskList(WireModel):
    """Tasks, newest first."""

    tasks: Items[Task] = ()


class UserUsage(WireModel):
    """What a user has transferred, in bytes; quota 0 is none."""

    id: str = ""
    name: str = ""
    used_bytes: Int = 0
    quota_bytes: Int = 0
    status: str = ""
    last_seen_at: Time = None
    per_node: Mapping[str, Int] = {}


class Collector(WireModel):
    """How reading the counters went on one node."""

    node_id: str = ""
    collector_source: str = ""
    collector_status: str = ""
    collector_error: str = ""
    checked_at: Time = None
    last_report_at: Time = None


class UsageAnswer(WireModel):
    """Usage of all users and the state of all collectors."""

    users: Items[UserUsage] = ()
    nodes: Items[Collector] = ()


class Booking(WireModel):
    """Bytes of a user on a node in the hour, day or billing month that began at ``start``."""

    start: Time = None
    user_id: str = ""
    node_id: str = ""
    bytes: Int = 0


class BookingList(WireModel):
    """Bookings, oldest first."""

    bookings: Items[Booking] = ()


class AuditEvent(WireModel):
    """One decision: who did what to what (``target``), and whether it was allowed; ``detail`` depends on the action."""

    time: Time = None
    actor: str = ""
    action: str = ""
    target: str = ""
    node_id: str = ""
    decision: str = ""
    reason: str = ""
    detail: Mapping[str, Any] = {}


class AuditList(WireModel):
    """Events, newest first."""

    events: Items[AuditEvent] = ()


class KillSwitchAnswer(WireModel):
    """Whether task execution is off for the whole fleet."""

    task_execution_disabled: bool = False


A = TypeVar("A", bound=WireModel)


def read(model: type[A], answer: Mapping[str, object]) -> A:
    """The answer as its model; ``AnswerError`` names the first field that is wrong."""
    try:
        return parse(model, answer)
    except WireError as error:
        raise AnswerError(f"the answer is not understood: {error}") from None
