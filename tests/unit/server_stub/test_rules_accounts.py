"""Accounts: status, quota by billing month, and what charging does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from server_stub.rules.accounts import Account, UserStatus, charge

MARCH_20 = datetime(2026, 3, 20, 12, tzinfo=UTC)
MONTHLY = Account("alice", 90, 100, reset_day=15, period_start=datetime(2026, 3, 15, tzinfo=UTC))


def test_a_billing_month_that_has_begun_starts_the_account_anew() -> None:
    told = replace(MONTHLY, alerts=frozenset({"quota:100:80:2026-03-15", "expiry:2026-05-01:7"}))
    assert told.at(MARCH_20) == told
    april = told.at(datetime(2026, 4, 15, tzinfo=UTC))
    assert (april.used_bytes, april.period_start) == (0, datetime(2026, 4, 15, tzinfo=UTC))
    assert april.alerts == {"expiry:2026-05-01:7"}


def test_a_clock_that_was_set_back_brings_no_earlier_month_back() -> None:
    assert MONTHLY.at(datetime(2026, 2, 1, tzinfo=UTC)) == MONTHLY


def test_without_a_reset_day_the_quota_counts_for_ever() -> None:
    account = Account("alice", 100, 100)
    assert account.at(MARCH_20 + timedelta(days=4_000)) == account


def test_the_first_billing_month_of_an_account_begins_with_nothing_forgotten() -> None:
    new = Account("alice", 5, 100, reset_day=15)
    assert new.at(MARCH_20) == replace(new, period_start=datetime(2026, 3, 15, tzinfo=UTC))


def test_the_words_for_a_status_are_those_of_the_api() -> None:
    assert [str(status) for status in UserStatus] == ["disabled", "expired", "over_quota", "active"]


def test_who_is_new_has_used_nothing_and_may_use_everything_everywhere() -> None:
    assert Account("alice") == Account("alice", 0, 0, True, None, frozenset(), frozenset(), 0, None)
    assert Account("alice").is_eligible("any")


def test_a_quota_of_one_byte_is_one_and_none_is_none() -> None:
    assert Account("alice", 1, 1).status(MARCH_20) is UserStatus.OVER_QUOTA
    assert Account("alice", 0, 1).status(MARCH_20) is UserStatus.ACTIVE
    assert Account("alice", 10**15).status(MARCH_20) is UserStatus.ACTIVE


def test_another_quota_forgets_the_alerts_of_the_old_one() -> None:
    account = Account("alice", 90, 200, alerts=frozenset({"quota:100:80", "quota:200:80", "expiry:2026-05-01:7"}))
    assert account.without_old_alerts() == replace(account, alerts=frozenset({"quota:200:80"}))


def test_over_quota_ends_with_the_month() -> None:
    full = replace(MONTHLY, used_bytes=100)
    assert full.status(MARCH_20) is UserStatus.OVER_QUOTA
    assert full.status(datetime(2026, 4, 14, 23, 59, 59, tzinfo=UTC)) is UserStatus.OVER_QUOTA
    assert full.status(datetime(2026, 4, 15, tzinfo=UTC)) is UserStatus.ACTIVE


def test_another_reset_day_keeps_what_was_used_until_it_comes() -> None:
    moved = MONTHLY.with_reset_day(1, MARCH_20)
    assert (moved.used_bytes, moved.reset_day, moved.period_start) == (90, 1, datetime(2026, 3, 1, tzinfo=UTC))
    assert moved.at(datetime(2026, 4, 1, tzinfo=UTC)).used_bytes == 0
    without = MONTHLY.with_reset_day(0, MARCH_20)
    assert (without.used_bytes, without.reset_day, without.period_start) == (90, 0, None)
    late = MONTHLY.with_reset_day(0, datetime(2026, 5, 1, tzinfo=UTC))
    assert late.used_bytes == 0  # its month was over


def test_alerts_come_anew_in_another_month() -> None:
    first = charge(MONTHLY, 5)
    assert first.alerts == ("quota:100:80:2026-03-15",)
    assert charge(first.account, 1).alerts == ()
    second = charge(first.account.at(datetime(2026, 4, 15, tzinfo=UTC)), 100)
    assert second.alerts == ("quota:100:80:2026-04-15", "quota:100:100:2026-04-15")
    assert second.account.alerts == set(second.alerts)  # those of March are not kept


def test_emptied_forgets_the_quotas_alerts_only() -> None:
    account = Account("alice", 100, 100, alerts=frozenset({"quota:100:80", "expiry:2026-05-01:7"}))
    assert account.emptied() == replace(account, used_bytes=0, alerts=frozenset({"expiry:2026-05-01:7"}))


@pytest.mark.parametrize("enabled", [True, False])
def test_a_disabled_user_is_charged_without_alerts(enabled: bool) -> None:
    charged = charge(Account("alice", 0, 10, enabled=enabled), 10)
    assert charged.used_bytes == 10
    assert len(charged.alerts) == (2 if enabled else 0)
