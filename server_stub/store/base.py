"""What the rest of the control plane may expect of a store.

Theory of operation. A store is synchronous; whoever calls it decides where it runs (``run_sync`` of the application:
one thread in production, a direct call in simulation), so calls never overlap. All work happens in a function that
gets the ``Tables``:

- ``write(work)`` is one transaction. When it has returned, everything is on disk (a result's 200 may go out); when
  ``work`` raises, nothing has changed. Killing the process at any point leaves one or the other.
- ``read(work)`` sees one consistent state and must not change it; it costs no sync to disk.

Two questions are asked for every request and answered from memory without I/O, from any thread: which node and which
operator a token belongs to. Only tokens of operators that were not revoked are found; disabled nodes are found, and
say so. A change is visible as soon as the ``write`` that made it has returned.

The tables hold rows and keep no rules: which lease to grant or which result to take is decided by ``server_stub.rules``
over the rows, and carried out by ``server_stub.actions``.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from server_stub.rules.accounts import Account
from server_stub.rules.fan_out import FanOut
from server_stub.rules.leases import Grant
from server_stub.rules.metric_history import MetricPoint, Step
from server_stub.rules.outcomes import Ending
from server_stub.rules.results import Result
from server_stub.rules.sessions import Session
from server_stub.rules.states import Target, TargetState, TaskOutcome
from server_stub.rules.usage import Baseline
from server_stub.rules.usage_ledger import KnownLedger
from server_stub.rules.usage_report import Health
from server_stub.store.records import (
    AuditEvent,
    Booking,
    BookingQuery,
    Credential,
    FleetSummary,
    Node,
    NodeQuery,
    Operator,
    Presence,
    Profile,
    StoredInventory,
    StoredResult,
    Task,
    User,
    UserQuery,
)

T = TypeVar("T")


class NodeTable(Protocol):
    """Registered nodes."""

    def add(self, node: Node, token_sha256: bytes) -> None: ...
    def get(self, node_id: str) -> Node | None: ...
    def all(self) -> list[Node]: ...
    def find(self, query: NodeQuery, limit: int) -> list[Node]:
        """By id."""
        ...

    def count(self) -> int: ...
    def summary(self, online_since: datetime) -> FleetSummary: ...
    def unknown(self, node_ids: Iterable[str]) -> list[str]:
        """Those of the ids that are not registered, in the order given."""
        ...

    def set_token(self, node_id: str, token_sha256: bytes) -> None: ...
    def set_disabled(self, node_id: str, disabled: bool) -> None: ...
    def set_overrides(self, node_id: str, overrides: dict[str, Any]) -> None: ...
    def set_tags(self, node_id: str, tags: Sequence[str]) -> None: ...
    def set_draining(self, node_id: str, draining: bool) -> None: ...
    def draining(self, node_id: str) -> bool: ...
    def tagged(self, tags: Collection[str]) -> list[str]:
        """Nodes that have all of the tags and are not disabled, by id."""
        ...

    def set_presence(self, node_id: str, presence: Presence) -> None: ...
    def set_inventory(self, inventory: StoredInventory) -> None: ...
    def inventory(self, node_id: str) -> StoredInventory | None: ...


class OperatorTable(Protocol):
    """Operators by name; a revoked name stays taken."""

    def add(self, name: str, token_sha256: bytes, at: datetime) -> None: ...
    def all(self) -> list[Operator]: ...
    def revoke(self, name: str, at: datetime) -> None: ...
    def password_hash(self, name: str) -> str | None:
        """``None`` for an operator without a password, a revoked one and one that does not exist."""
        ...

    def set_password(self, name: str, encoded: str | None) -> None: ...


class SessionTable(Protocol):
    """Operators' sessions on the web page, by the digest of their cookie."""

    def add(self, session: Session) -> None: ...
    def get(self, digest: bytes) -> Session | None:
        """Also one that has run out, but none of a revoked operator."""
        ...

    def of(self, operator: str) -> list[Session]: ...
    def note_use(self, digest: bytes, at: datetime) -> None: ...
    def remove(self, digests: Iterable[bytes]) -> None: ...


class TaskTable(Protocol):
    """Tasks, their targets and results. The oldest ended tasks beyond the retention are forgotten; open ones never."""

    def add(self, task: Task) -> None: ...
    def get(self, task_id: str) -> Task | None: ...
    def newest(self, *, node_id: str | None, status: str | None, limit: int) -> list[Task]: ...
    def newest_ids(self, *, node_id: str | None, status: str | None, limit: int) -> list[str]:
        """The same without reading any script."""
        ...

    def open_count(self) -> int: ...
    def due(self, node_id: str, now: datetime, limit: int) -> list[tuple[Task, Target]]:
        """Targets of the node that are queued, or leased with a dead lease, and for which there is room in their
        task's concurrency; oldest task first."""
        ...

    def waiting_nodes(self) -> list[str]:
        """Nodes for which something is queued."""
        ...

    def overdue(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        """Task and node of queued targets whose queued clock has fired."""
        ...

    def unconfirmed(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        """Task and node of targets whose end was asked for and whose lease has died since."""
        ...

    def lapsed(self, since: datetime, until: datetime, limit: int) -> list[tuple[str, str]]:
        """Task and node of targets whose lease has died from ``since`` on and before ``until``."""
        ...

    def cancel_requests(self, node_id: str) -> list[str]:
        """Tasks that are leased to the node and whose end was asked for."""
        ...

    def fan_out(self, task_id: str) -> FanOut: ...
    def outcomes(self, task_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """For each task that exists, how many of its targets have which ``TargetOutcome``."""
        ...

    def target(self, task_id: str, node_id: str) -> Target | None: ...
    def targets(self, task_id: str) -> list[Target]: ...
    def grant(self, grant: Grant, node_id: str, lease_id: str, at: datetime) -> None:
        """Writes a lease; the task's ``started_at`` is set by its first."""
        ...

    def set_running(self, task_id: str, node_id: str, lease_id: str, at: datetime) -> bool:
        """That the script runs under this lease; whether that was news. False for a lease that is not the target's."""
        ...

    def request_cancel(self, task_id: str, node_id: str, actor: str, at: datetime) -> None:
        """The first request is the one that is remembered."""
        ...

    def end(self, task_id: str, node_id: str, state: TargetState, ending: Ending, at: datetime) -> None:
        """Of a target that ends without a result."""
        ...

    def put_result(self, result: Result, ending: Ending, received_at: datetime) -> None: ...
    def result(self, task_id: str, node_id: str) -> Result | None: ...
    def results(self, task_id: str, *, streams: bool = True) -> list[StoredResult]:
        """Without ``streams`` both are empty texts, and are not read."""
        ...

    def stored_result(self, task_id: str, node_id: str) -> StoredResult | None: ...
    def set_outcome(self, task_id: str, outcome: TaskOutcome) -> None: ...


class UsageTable(Protocol):
    """Profiles, users and their bytes."""

    def add_profile(self, profile: Profile) -> None: ...
    def profile(self, node_id: str) -> Profile | None: ...
    def profiles(self) -> list[Profile]: ...
    def set_health(self, node_id: str, health: Health | None, reported_at: datetime) -> None:
        """``None`` keeps the collector's health and moves ``last_report_at`` only."""
        ...

    def baseline(self, node_id: str) -> Baseline | None: ...
    def set_baseline(self, node_id: str, baseline: Baseline, at: datetime) -> None: ...
    def add_user(self, user: User) -> None: ...
    def user(self, user_id: str) -> User | None: ...
    def users(self, user_ids: Sequence[str] | None = None) -> list[User]:
        """All users, or those of the ids that exist."""
        ...

    def find(self, query: UserQuery, limit: int) -> list[User]:
        """By id."""
        ...

    def bytes_by_node(self, user_id: str) -> dict[str, int]:
        """What was ever transferred on each node, by the user or, with an empty id, by all."""
        ...

    def users_expiring(self, before: datetime) -> list[User]:
        """Enabled ones whose time ends before the moment given, or has ended."""
        ...

    def user_count(self) -> int: ...
    def set_account(self, account: Account, seen_at: datetime | None = None) -> None:
        """``None`` keeps ``last_seen_at``."""
        ...

    def add_bytes(self, user_id: str, node_id: str, count: int) -> None:
        """To what the user has ever transferred on the node."""
        ...


class LedgerTable(Protocol):
    """Last number and last totals of the ledgers of each node (``server_stub.rules.usage_ledger``)."""

    def known(self, node_id: str, ledger_id: str, user_ids: Iterable[str]) -> KnownLedger | None: ...
    def remember(self, node_id: str, ledger_id: str, seq: int, totals: Mapping[str, int], ids: int) -> None:
        """Totals of other ids stay; a ledger of the node beyond ``MAX_LEDGERS`` is forgotten."""
        ...


class BookingTable(Protocol):
    """Bytes by user, node and hour, day or billing month, for as long as ``kept_since`` says."""

    def add(self, bookings: Iterable[Booking], now: datetime) -> None:
        """Adds to what is booked there, and lets go of what is too old at ``now``."""
        ...

    def find(self, query: BookingQuery, limit: int) -> list[Booking]:
        """At most ``limit``, by beginning, user and node."""
        ...

    def totals(self, query: BookingQuery) -> list[tuple[datetime, float]]:
        """Bytes of all that ``find`` would give, by beginning. Floats, because a sum may exceed SQLite's integers."""
        ...


class AuditTable(Protocol):
    """Append-only; only the oldest events beyond the retention leave it."""

    def append(self, event: AuditEvent) -> None: ...
    def newest(
        self, *, action: str | None, node_id: str | None, limit: int, words: str = "", before: int | None = None
    ) -> list[AuditEvent]:
        """Newest first. ``words`` is looked for, in any case of letters, in actor, action, target, node and reason;
        only events of a lower id than ``before``."""
        ...


class SwitchTable(Protocol):
    """Fleet-wide switches."""

    def task_execution_disabled(self) -> bool: ...
    def set_task_execution_disabled(self, disabled: bool) -> None: ...


class MetricTable(Protocol):
    """The history of nodes' metrics by node, step and the step's beginning."""

    def at(self, node_id: str, step: Step, start: datetime) -> MetricPoint | None: ...
    def put(self, node_id: str, step: Step, point: MetricPoint) -> None:
        """In place of what is there."""
        ...

    def keep(self, node_id: str, step: Step, since: datetime, until: datetime) -> None:
        """Forgets what began before ``since`` or after ``until``."""
        ...

    def since(self, node_id: str, step: Step, start: datetime) -> list[MetricPoint]:
        """Oldest first."""
        ...


@dataclass(frozen=True)
class Tables:
    """Everything a transaction can touch."""

    nodes: NodeTable
    operators: OperatorTable
    tasks: TaskTable
    usage: UsageTable
    ledgers: LedgerTable
    bookings: BookingTable
    audit: AuditTable
    switches: SwitchTable
    sessions: SessionTable
    metrics: MetricTable


class Store(Protocol):
    """See the module's theory of operation. Raises ``StoreError`` when the database fails."""

    def write(self, work: Callable[[Tables], T]) -> T: ...
    def read(self, work: Callable[[Tables], T]) -> T: ...
    def node_of(self, token_sha256: bytes) -> Credential | None: ...
    def operator_of(self, token_sha256: bytes) -> str | None: ...
    def close(self) -> None: ...
