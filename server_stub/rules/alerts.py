"""Which alerts are due about a user (protocol reference 5.4, step 10).

An alert is a key, and a key that was fired is not fired again. The quota's keys carry the limit and, where it counts by
billing month, the month: another quota warns anew, and so does another month. The expiry's keys carry its date. Only
keys of the present limit, month and date are kept, so there are never more than five.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

QUOTA_THRESHOLDS: Final = (80, 100)
"""Percent of the quota at which operators are told, once each."""
QUOTA_PREFIX: Final = "quota:"
_EXPIRY_PREFIX: Final = "expiry:"
EXPIRY_NOTICE: Final = timedelta(days=7)
_LAST_NOTICE: Final = timedelta(days=1)


def quota_alerts(quota: int, used: int, period_start: datetime | None, fired: Collection[str]) -> tuple[str, ...]:
    """Keys ``quota:<limit>:<80|100>``, with ``:<first day of the billing month>`` if there is one."""
    if quota <= 0:
        return ()
    month = f":{period_start.date()}" if period_start is not None else ""
    reached = (f"{QUOTA_PREFIX}{quota}:{t}{month}" for t in QUOTA_THRESHOLDS if used * 100 >= quota * t)
    return tuple(key for key in reached if key not in fired)


def expiry_alerts(expires_at: datetime | None, now: datetime, fired: Collection[str]) -> tuple[str, ...]:
    """Keys ``expiry:<date>:<7|1|expired>``; of those that are due only the most urgent, the others are old news."""
    if expires_at is None or expires_at - now > EXPIRY_NOTICE:
        return ()
    left = expires_at - now
    stage = "expired" if left <= timedelta(0) else "1" if left <= _LAST_NOTICE else "7"
    key = f"{_EXPIRY_PREFIX}{expires_at.date()}:{stage}"
    return () if key in fired else (key,)


def still_meant(fired: Collection[str], quota: int, expires_at: datetime | None) -> frozenset[str]:
    """Of the keys that were fired those of this quota and this end; the others are forgotten."""
    kept = [f"{QUOTA_PREFIX}{quota}:"]
    if expires_at is not None:
        kept.append(f"{_EXPIRY_PREFIX}{expires_at.date()}:")
    return frozenset(key for key in fired if key.startswith(tuple(kept)))
