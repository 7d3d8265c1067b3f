"""A user's account: what it may use, what it has used, its status, and what a number of bytes does to it (protocol
reference 5.4, steps 5, 8 and 9).

With a reset day the quota counts for one billing month at a time, without one for ever. Nothing has to run when a
month begins: ``Account.at`` gives the account as it is at a moment, and whoever reads or charges one asks for that.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from server_stub.rules.alerts import QUOTA_PREFIX, quota_alerts, still_meant
from server_stub.rules.billing_calendar import Span, start_of
from server_stub.rules.usage_report import MAX_COUNTER


class UserStatus(StrEnum):
    DISABLED = "disabled"
    EXPIRED = "expired"
    OVER_QUOTA = "over_quota"
    ACTIVE = "active"


@dataclass(frozen=True)
class Account:
    """What accounting knows of a user. Empty ``nodes`` means all; ``quota_bytes`` and ``reset_day`` 0 mean none."""

    user_id: str
    used_bytes: int = 0
    """Since ``period_start``, or for ever without a reset day."""
    quota_bytes: int = 0
    enabled: bool = True
    expires_at: datetime | None = None
    nodes: frozenset[str] = frozenset()
    alerts: frozenset[str] = frozenset()
    """Keys of the alerts that were fired already."""
    reset_day: int = 0
    period_start: datetime | None = None
    """Beginning of the billing month that ``used_bytes`` belongs to; ``None`` without a reset day."""

    def at(self, now: datetime) -> "Account":
        """The account as it is at ``now``. A clock that was set back does not bring an earlier month back."""
        if not self.reset_day:
            return self
        begun = start_of(Span.MONTH, now, self.reset_day)
        if self.period_start is None:
            return replace(self, period_start=begun)
        return self if begun <= self.period_start else replace(self.emptied(), period_start=begun)

    def emptied(self) -> "Account":
        """Nothing used, and the quota's alerts to come anew."""
        others = frozenset(key for key in self.alerts if not key.startswith(QUOTA_PREFIX))
        return replace(self, used_bytes=0, alerts=others)

    def with_reset_day(self, reset_day: int, now: datetime) -> "Account":
        """What was used so far stays counted, until the new reset day comes (0: for ever)."""
        start = start_of(Span.MONTH, now, reset_day) if reset_day else None
        return replace(self.at(now), reset_day=reset_day, period_start=start)

    def without_old_alerts(self) -> "Account":
        """After another quota or end was set: told of anew, should it ever be the old one again."""
        return replace(self, alerts=still_meant(self.alerts, self.quota_bytes, self.expires_at))

    def status(self, now: datetime) -> UserStatus:
        """Disabled before expired before over quota (step 9)."""
        if not self.enabled:
            return UserStatus.DISABLED
        if self.expires_at is not None and self.expires_at <= now:
            return UserStatus.EXPIRED
        if 0 < self.quota_bytes <= self.at(now).used_bytes:
            return UserStatus.OVER_QUOTA
        return UserStatus.ACTIVE

    def is_eligible(self, node_id: str) -> bool:
        """Accounting goes on for disabled, expired and over-quota users (step 5)."""
        return not self.nodes or node_id in self.nodes


@dataclass(frozen=True)
class Charge:
    """What happens to one account. A ``delta`` of 0 only moves ``last_seen_at`` (first report of a node)."""

    account: Account
    """As it is afterwards."""
    delta: int
    alerts: tuple[str, ...] = ()
    """Keys of the alerts to fire now."""

    @property
    def user_id(self) -> str:
        return self.account.user_id

    @property
    def used_bytes(self) -> int:
        return self.account.used_bytes


@dataclass(frozen=True)
class Billing:
    """What one report does to accounts."""

    charges: tuple[Charge, ...]
    ignored: int
    """Entries of the report that belong to nobody who is counted on the node."""

    @property
    def bytes_delta(self) -> int:
        return min(sum(charge.delta for charge in self.charges), MAX_COUNTER)

    @property
    def alerts_fired(self) -> int:
        return sum(len(charge.alerts) for charge in self.charges)


def charge(account: Account, delta: int) -> Charge:
    """``delta`` bytes on an account as it is now (``Account.at``). Sums stop at 2**63 - 1 instead of going negative."""
    used = min(account.used_bytes + delta, MAX_COUNTER)
    fired: tuple[str, ...] = ()
    if account.enabled:
        fired = quota_alerts(account.quota_bytes, used, account.period_start, account.alerts)
    return Charge(replace(account, used_bytes=used, alerts=account.alerts.union(fired)), delta, fired)
