"""The operator API's answers, as far as a command shows them.

Read like messages of the wire: unknown fields are ignored, ``null`` is the empty value, a wrong type is an
``AnswerError`` that names the field. ``--json`` prints the answer itself and never passes through here. Tasks have a
file of their own.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from lattice_agent.wire.base import Int, Items, Time, WireError, WireModel, parse
from server_stub.cli.errors import AnswerError
from server_stub.cli.text import visible


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
    tags: Items[str] = ()
    draining: bool = False
    policy: Mapping[str, Any] = {}
    control_stream: bool = False
    """Whether its control stream is up now."""


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


class Operator(WireModel):
    """Somebody with a token."""

    name: str
    created_at: Time = None
    revoked_at: Time = None


class OperatorAnswer(WireModel):
    """One operator."""

    operator: Operator


class OperatorList(WireModel):
    """All operators, the revoked ones too."""

    operators: Items[Operator] = ()


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
        raise AnswerError(f"the answer is not understood: {visible(str(error))}") from None
