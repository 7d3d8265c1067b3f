"""Which alerts are due."""

from datetime import UTC, datetime, timedelta

import pytest

from server_stub.rules.alerts import expiry_alerts, quota_alerts, still_meant

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("left", "stage"),
    [
        (timedelta(days=7) + SECOND, None),
        (timedelta(days=7), "7"),
        (timedelta(days=1) + SECOND, "7"),
        (timedelta(days=1), "1"),
        (SECOND, "1"),
        (timedelta(0), "expired"),
        (-timedelta(days=400), "expired"),
    ],
)
def test_the_most_urgent_notice_of_expiry(left: timedelta, stage: str | None) -> None:
    end = NOW + left
    due = () if stage is None else (f"expiry:{end.date()}:{stage}",)
    assert expiry_alerts(end, NOW, ()) == due
    assert expiry_alerts(end, NOW, due) == ()


def test_who_never_expires_is_never_told_of() -> None:
    assert expiry_alerts(None, NOW, ()) == ()


def test_another_end_is_told_of_anew() -> None:
    fired = expiry_alerts(NOW, NOW, ())
    assert expiry_alerts(NOW - timedelta(days=1), NOW, fired) == ("expiry:2026-02-28:expired",)


@pytest.mark.parametrize(
    ("quota", "used", "due"),
    [
        *((0, 10**9, ()), (1, 0, ()), (1, 1, ("80", "100")), (100, 79, ()), (100, 80, ("80",)), (100, 99, ("80",))),
        *((100, 100, ("80", "100")), (10**6, 799_999, ()), (10**6, 999_999, ("80",))),
    ],
)
def test_thresholds_of_the_quota(quota: int, used: int, due: tuple[str, ...]) -> None:
    assert quota_alerts(quota, used, None, ()) == tuple(f"quota:{quota}:{threshold}" for threshold in due)
    monthly = quota_alerts(quota, used, datetime(2026, 2, 15, tzinfo=UTC), ())
    assert monthly == tuple(f"quota:{quota}:{threshold}:2026-02-15" for threshold in due)


def test_keys_of_another_quota_or_end_are_forgotten() -> None:
    fired = {"quota:100:80", "quota:10:80", "quota:100:100:2026-02-15", "expiry:2026-03-01:7", "expiry:2026-03-02:1"}
    assert still_meant(fired, 100, NOW) == {"quota:100:80", "quota:100:100:2026-02-15", "expiry:2026-03-01:7"}
    assert still_meant(fired, 0, None) == frozenset()
