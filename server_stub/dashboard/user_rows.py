"""Proxy users as rows of a table: what each has used of what it may."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from server_stub.dashboard.node_states import BAD, GOOD, IDLE, WARN
from server_stub.readable import size
from server_stub.rules.accounts import UserStatus
from server_stub.store.records import User

_KINDS: Final = {
    UserStatus.ACTIVE: GOOD,
    UserStatus.DISABLED: IDLE,
    UserStatus.EXPIRED: WARN,
    UserStatus.OVER_QUOTA: BAD,
}
_NEARLY: Final = 80
"""Percent of a quota from which the bar warns."""


@dataclass(frozen=True)
class Quota:
    """``share`` of the bar in percent, at most the whole of it; ``text`` says it in words."""

    share: int
    kind: str
    text: str


@dataclass(frozen=True)
class UserRow:
    """``quota`` is None for a user without one."""

    user: User
    word: str
    kind: str
    used_bytes: int
    quota: Quota | None


def user_row(user: User, now: datetime) -> UserRow:
    """As the account is at ``now``."""
    account = user.account.at(now)
    status = account.status(now)
    quota = quota_of(account.used_bytes, account.quota_bytes) if account.quota_bytes else None
    return UserRow(user, status.replace("_", " "), _KINDS[status], account.used_bytes, quota)


def quota_of(used: int, most: int) -> Quota:
    """Rounded down: a bar is full only when the quota is.

    >>> quota_of(999, 1000).text
    '999 B of 1000 B, 99 %'
    """
    percent = used * 100 // most
    kind = BAD if percent >= 100 else WARN if percent >= _NEARLY else GOOD
    return Quota(min(percent, 100), kind, f"{size(used)} of {size(most)}, {percent} %")
