"""A control plane with something to look at: nodes with a week behind them, tasks with every outcome, users with
their traffic. ``with fleet(place, prepare=prepare) as served`` starts one."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from lattice_agent.wire.results import RunClock, RunDetail, RunOutcome, TaskResult
from lattice_agent.wire.tasks import LeasedTask
from lattice_agent.wire.usage import UsageSnapshot
from server_stub.actions import leasing
from server_stub.actions.cancelling import cancel_task
from server_stub.actions.giving_up import expire, lose
from server_stub.actions.reporting import take_results
from server_stub.actions.tasks import create_task
from server_stub.actions.usage import take_usage
from server_stub.actions.users import add_user, set_profile
from server_stub.bootstrap import create_operator_token
from server_stub.config import Limits
from server_stub.rules.accounts import Account
from server_stub.rules.fan_out import FanOut
from server_stub.rules.task_limits import check_order
from server_stub.store.base import Tables
from server_stub.store.records import Task
from server_stub.store.sqlite import SqliteStore
from tests.rigs.demo_nodes import GIB, OPERATOR, add_machines

FAN_OUT: Final = "apt-get update -q && apt-get install -y --only-upgrade openssl"
FAILED: Final = "systemctl reload nginx"


@dataclass(frozen=True)
class Run:
    """How a script ends on one node, after so many seconds."""

    outcome: RunOutcome = RunOutcome.SUCCEEDED
    seconds: float = 1.4
    exit_code: int = 0
    error: str = ""
    stdout: str = ""
    stderr: str = ""
    detail: Mapping[str, Any] | None = None

    def result(self, task: LeasedTask, begun: datetime) -> TaskResult:
        wall_ms = int(1000 * self.seconds)
        clocks = {"queued_ms": 12, "wall_ms": wall_ms, "cpu_ms": wall_ms // 4, "max_rss_bytes": 31_457_280}
        sizes = {"stdout_bytes": len(self.stdout), "stderr_bytes": len(self.stderr), "level": "strict"}
        detail = RunDetail(outcome=self.outcome, **{**clocks, **sizes, **(self.detail or {})})
        return TaskResult(
            task_id=task.id,
            lease_id=task.lease_id,
            exit_code=self.exit_code,
            error=self.error,
            stdout=self.stdout,
            stderr=self.stderr,
            started_at=begun,
            finished_at=begun + timedelta(seconds=self.seconds),
            detail=detail,
        )


UPGRADED: Final = Run(seconds=8.3, stdout="Reading package lists...\n1 upgraded, 0 newly installed, 0 to remove.\n")
LOCKED: Final = Run(
    RunOutcome.FAILED, 0.6, 100, "exit status 100", stderr="E: Could not get lock /var/lib/dpkg/lock-frontend\n"
)
NGINX: Final = Run(
    *(RunOutcome.FAILED, 0.2, 1, "exit status 1"),
    stderr="Job for nginx.service failed.\nSee \x1b[1msystemctl status nginx.service\x1b[0m for details.\n",
)
TOO_LONG: Final = Run(
    *(RunOutcome.TIMED_OUT, 30.2, -1, "context deadline exceeded", "checking 1.2 TiB of backups\n"),
    detail={"clock": RunClock.WALL, "grace_ms": 180},
)
TOO_MUCH: Final = Run(
    RunOutcome.OUTPUT_LIMIT, 2.2, error="stdout exceeded task output limit; output truncated", stdout="/var/log\n" * 400
)
GREEDY: Final = Run(
    *(RunOutcome.MEMORY_LIMIT, 4.0, -1, "signal: killed (memory limit exceeded: 1.0 GiB)"),
    detail={"reason": "1.0 GiB, the most that the node allows"},
)
UNLISTED: Final = Run(
    *(RunOutcome.REFUSED, 0.0, -1, "only scripts that this node's policy lists run"),
    detail={"reason": "only scripts that this node's policy lists run", "rule": "script"},
)
CUT_SHORT: Final = Run(
    *(RunOutcome.INTERRUPTED, 3.0, -1, "interrupted: the agent was restarted"),
    detail={"reason": "the agent was restarted"},
)
ENDED: Final = Run(
    *(RunOutcome.CANCELLED, 41.0, -1, "context canceled: cancelled by the control plane", "waiting for replication\n"),
    detail={"clock": RunClock.GRACE, "grace_expired": True, "grace_ms": 2_050, "killed": 2},
)
KERNEL: Final = Run(seconds=0.02, stdout="6.12.48-amd64\n")

ENDINGS: Final[Sequence[tuple[float, str, Mapping[str, Run]]]] = (
    (1_500, "uname -r", dict.fromkeys(("web-1", "web-2", "web-3", "db-1", "edge-fra"), KERNEL)),
    (600, "find / -xdev -type d", {"edge-fra": TOO_MUCH}),
    (420, "python3 - <<'EOF'\nimport report\nreport.year()\nEOF", {"web-2": GREEDY}),
    (300, "pg_basebackup --checkpoint=fast", {"db-1": UNLISTED}),
    (240, "restic check --read-data", {"edge-fra": TOO_LONG}),
    (190, "certbot renew --quiet", {"web-1": CUT_SHORT}),
    (95, FAILED, {"web-1": Run(), "web-2": NGINX, "web-3": Run()}),
)
"""Minutes ago, script, and how it went where."""
UPGRADES: Final = {"web-1": UPGRADED, "web-2": LOCKED, "web-3": UPGRADED, "edge-fra": UPGRADED}
USERS: Final = (
    ("alice", "Alice Moreau", 200 * GIB, 3.1),
    ("bela", "Béla Kis", 50 * GIB, 1.5),
    ("chen", "Chen Li", 180 * GIB, 3.9),
    ("dara", "Dara Ní Bhriain", 0, 0.7),
)
"""Id, name, quota, and GiB a day."""


def prepare(database: Path) -> str:
    """Fills the database; the token of OPERATOR."""
    with closing(SqliteStore(str(database))) as store:
        token = create_operator_token(store, OPERATOR)
        store.write(lambda tables: _fill(tables, datetime.now(UTC)))
        return token


def _fill(tables: Tables, now: datetime) -> None:
    add_machines(tables, now)
    _add_usage(tables, now)
    for minutes, script, runs in ENDINGS:
        _end(tables, script, runs, now - timedelta(minutes=minutes))
    _lose(tables, "sysctl --system", "edge-sin", now - timedelta(minutes=85))
    _expire(tables, "journalctl --vacuum-time=7d", "edge-sin", now - timedelta(minutes=70))
    _end(tables, FAN_OUT, UPGRADES, now - timedelta(minutes=31))
    _cancel(tables, "psql -c 'select pg_promote()'", "db-1", now - timedelta(minutes=18))
    _create(tables, "shutdown -r +1", ("edge-sin",), now - timedelta(minutes=4))


def _create(tables: Tables, script: str, nodes: Sequence[str], at: datetime, wait: int = 0) -> Task:
    fan_out = FanOut(concurrency=3, max_failures=2) if len(nodes) > 1 else FanOut()
    order = check_order(nodes, "bash", f"set -eu\n{script}\n", 30, 65_536, fan_out, wait)
    return create_task(tables, OPERATOR, order, at, Limits())


def _lease(tables: Tables, task: Task, node_id: str, at: datetime) -> LeasedTask:
    leased = leasing.lease(tables, node_id, 16, at, Limits().attempt_limit).tasks
    [found] = [one for one in leased if one.id == task.id]
    tables.tasks.set_running(task.id, node_id, found.lease_id, at)
    return found


def _end(tables: Tables, script: str, runs: Mapping[str, Run], at: datetime) -> None:
    task = _create(tables, script, list(runs), at)
    for nth, (node_id, run) in enumerate(runs.items()):
        begun = at + timedelta(seconds=0.05 + nth * 0.4)
        result = run.result(_lease(tables, task, node_id, begun), begun)
        take_results(tables, node_id, [result], begun + timedelta(seconds=run.seconds))


def _lose(tables: Tables, script: str, node_id: str, at: datetime) -> None:
    task = _create(tables, script, (node_id,), at)
    _lease(tables, task, node_id, at)
    lose(tables, task.id, node_id, at + timedelta(minutes=6))


def _expire(tables: Tables, script: str, node_id: str, at: datetime) -> None:
    task = _create(tables, script, (node_id,), at, wait=1_800)
    expire(tables, task.id, node_id, at + timedelta(seconds=1_800))


def _cancel(tables: Tables, script: str, node_id: str, at: datetime) -> None:
    task = _create(tables, script, (node_id,), at)
    result = ENDED.result(_lease(tables, task, node_id, at), at)
    cancel_task(tables, OPERATOR, task.id, node_id, at + timedelta(seconds=39))
    take_results(tables, node_id, [result], at + timedelta(seconds=41))


def _add_usage(tables: Tables, now: datetime) -> None:
    """A report every ten days, in the last month every twelve hours."""
    began = now - timedelta(days=300)
    for node_id in ("edge-fra", "edge-sto"):
        set_profile(tables, OPERATOR, node_id, began)
    for user_id, name, quota, _ in USERS:
        account = Account(user_id, quota_bytes=quota, reset_day=1 if quota else 0).at(began)
        add_user(tables, OPERATOR, account, name, began, Limits().users)
    halves = [*range(600, 64, -20), *range(62, -1, -1)]
    for half_days in halves:
        for node_id, part in (("edge-fra", 1.0), ("edge-sto", 0.35)):
            _report(tables, node_id, part, 600 - half_days, now - timedelta(hours=12 * half_days))
    broken = UsageSnapshot(
        collector_source="singbox", collector_status="error", collector_error="connection refused: 127.0.0.1:10085"
    )
    take_usage(tables, "edge-sto", broken, now - timedelta(minutes=3))


def _report(tables: Tables, node_id: str, part: float, half_days: int, at: datetime) -> None:
    # Not the same every day: a third more or less, by the day and the user.
    swing = sum(1 + (day * 7 % 5 - 2) / 6 for day in range(half_days)) / 2
    users = {user_id: int(part * daily * GIB * swing) for user_id, _, _, daily in USERS}
    uptime = 1 + half_days * 43_200
    take_usage(
        tables, node_id, UsageSnapshot(at=at, core_uptime_sec=uptime, user_bytes=users, collector_source="xray"), at
    )
