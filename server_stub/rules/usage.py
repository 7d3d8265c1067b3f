"""How counters become bytes on a user's account (protocol reference 5.4, steps 5 and 8 to 11).

A node reports counters that only grow while its proxy core runs. The difference to the node's stored snapshot is
added to each eligible user; the snapshot is then replaced by this one, eligible users only. The core's uptime is the
one signal of a restart: when it fell, every counter counts in full. Sums stop at 2**63 - 1 instead of going negative.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from server_stub.rules.usage_report import MAX_COUNTER, UsageReport

QUOTA_THRESHOLDS: Final = (80, 100)
"""Percent of the quota at which operators are told, once each."""


class UserStatus(StrEnum):
    DISABLED = "disabled"
    EXPIRED = "expired"
    OVER_QUOTA = "over_quota"
    ACTIVE = "active"


@dataclass(frozen=True)
class Account:
    """What accounting knows of a user. Empty ``nodes`` means all; ``quota_bytes`` 0 means none."""

    user_id: str
    used_bytes: int = 0
    quota_bytes: int = 0
    enabled: bool = True
    expires_at: datetime | None = None
    nodes: frozenset[str] = frozenset()
    alerts: frozenset[str] = frozenset()
    """Keys of the alerts that were fired already."""

    def status(self, now: datetime) -> UserStatus:
        """Disabled before expired before over quota (step 9)."""
        if not self.enabled:
            return UserStatus.DISABLED
        if self.expires_at is not None and self.expires_at <= now:
            return UserStatus.EXPIRED
        if 0 < self.quota_bytes <= self.used_bytes:
            return UserStatus.OVER_QUOTA
        return UserStatus.ACTIVE

    def is_eligible(self, node_id: str) -> bool:
        """Accounting goes on for disabled, expired and over-quota users (step 5)."""
        return not self.nodes or node_id in self.nodes


@dataclass(frozen=True)
class Baseline:
    """The stored snapshot of a node."""

    core_uptime_sec: int
    counters: Mapping[str, int]


@dataclass(frozen=True)
class Charge:
    """What happens to one account. A ``delta`` of 0 only moves ``last_seen_at`` (first report of a node)."""

    user_id: str
    delta: int
    used_bytes: int
    alerts: tuple[str, ...] = ()
    """Keys of the alerts to fire now."""


@dataclass(frozen=True)
class Settlement:
    """Everything one report changes."""

    charges: tuple[Charge, ...]
    ignored: int
    baseline: Baseline

    @property
    def bytes_delta(self) -> int:
        return min(sum(charge.delta for charge in self.charges), MAX_COUNTER)

    @property
    def alerts_fired(self) -> int:
        return sum(len(charge.alerts) for charge in self.charges)


def settle(
    report: UsageReport, node_id: str, accounts: Mapping[str, Account], baseline: Baseline | None
) -> Settlement | None:
    """``None`` for a report of health only: baseline and accounts stay as they are."""
    if report.counters is None:
        return None
    eligible = {
        user: value
        for user, value in report.counters.items()
        if user in accounts and accounts[user].is_eligible(node_id)
    }
    charges = (_charge(accounts[user], delta) for user, delta in _deltas(report, eligible, baseline).items())
    ignored = report.ignored + len(report.counters) - len(eligible)
    return Settlement(tuple(charges), ignored, Baseline(report.core_uptime_sec, eligible))


def _deltas(report: UsageReport, counters: Mapping[str, int], baseline: Baseline | None) -> dict[str, int]:
    """The table of step 8; users without traffic are left out, but for the first report."""
    if baseline is None:
        return dict.fromkeys(counters, 0)
    if report.core_uptime_sec < baseline.core_uptime_sec:
        return {user: value for user, value in counters.items() if value > 0}
    grown = {user: value - baseline.counters.get(user, 0) for user, value in counters.items()}
    return {user: delta for user, delta in grown.items() if delta > 0}


def _charge(account: Account, delta: int) -> Charge:
    used = min(account.used_bytes + delta, MAX_COUNTER)
    return Charge(account.user_id, delta, used, _new_alerts(account, used))


def _new_alerts(account: Account, used: int) -> tuple[str, ...]:
    """Keys carry the limit: a new quota warns anew (step 10)."""
    if not account.enabled or account.quota_bytes <= 0:
        return ()
    reached = (f"quota:{account.quota_bytes}:{t}" for t in QUOTA_THRESHOLDS if used * 100 >= account.quota_bytes * t)
    return tuple(key for key in reached if key not in account.alerts)
