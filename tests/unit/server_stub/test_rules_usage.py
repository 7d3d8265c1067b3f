"""Usage accounting (protocol reference 5.4, 5.5), also against a small independent model."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.wire.usage import UsageSnapshot
from server_stub.errors import Refused
from server_stub.rules.accounts import Account, UserStatus
from server_stub.rules.usage import Baseline, Settlement, settle
from server_stub.rules.usage_report import Health, check_report

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALICE = Account("alice")


def account_for(
    counters: dict[str, int], uptime: int = 0, baseline: Baseline | None = None, account: Account = ALICE
) -> Settlement:
    report = check_report(UsageSnapshot(core_uptime_sec=uptime, user_bytes=counters), NOW)
    settlement = settle(report, "n1", {account.user_id: account}, baseline)
    assert settlement is not None
    return settlement


def refusal(**snapshot: object) -> str:
    with pytest.raises(Refused) as refused:
        check_report(UsageSnapshot(**snapshot), NOW)  # type: ignore[arg-type]  # fields by name
    assert refused.value.status == 400
    return refused.value.message


def test_the_first_report_is_only_the_baseline() -> None:
    settlement = account_for({"alice": 500, "stranger": 1}, 10)
    assert (settlement.bytes_delta, len(settlement.charges), settlement.ignored) == (0, 1, 1)
    assert settlement.baseline == Baseline(10, {"alice": 500})


@pytest.mark.parametrize(
    ("stored", "uptime", "current", "delta"),
    [
        (Baseline(10, {"alice": 500}), 10, 540, 40),
        (Baseline(10, {"alice": 500}), 10, 501, 1),
        (Baseline(10, {"alice": 500}), 9, 540, 540),  # restart
        (Baseline(10, {"alice": 500}), 20, 500, 0),
        (Baseline(10, {"alice": 500}), 20, 499, 0),  # fell without a restart
        (Baseline(10, {}), 10, 160, 160),  # absent counts as 0
    ],
)
def test_the_difference(stored: Baseline, uptime: int, current: int, delta: int) -> None:
    settlement = account_for({"alice": current}, uptime, stored)
    assert settlement.bytes_delta == delta
    assert len(settlement.charges) == (1 if delta else 0)
    assert settlement.baseline == Baseline(uptime, {"alice": current})


def test_trap_12_an_empty_snapshot_clears_the_baseline() -> None:
    stored = account_for({}, 10, Baseline(10, {"alice": 150})).baseline
    assert account_for({"alice": 160}, 10, stored).bytes_delta == 160


def test_a_report_of_zeros_clears_the_baseline_and_bills_nothing() -> None:
    cleared = account_for({"alice": 0}, 0, Baseline(1000, {"alice": 500}))
    assert cleared.bytes_delta == 0
    assert account_for({"alice": 5}, 0, cleared.baseline).bytes_delta == 5


def test_a_user_that_was_not_eligible_is_not_in_the_baseline() -> None:
    elsewhere = Account("alice", nodes=frozenset({"n2"}))
    settlement = account_for({"alice": 500}, 0, Baseline(0, {}), elsewhere)
    assert (settlement.ignored, settlement.charges, settlement.baseline.counters) == (1, (), {})


def test_sums_stop_instead_of_going_negative() -> None:
    nearly = Account("alice", used_bytes=2**63 - 10)
    settlement = account_for({"alice": 100}, 0, Baseline(0, {}), nearly)
    assert settlement.charges[0].used_bytes == 2**63 - 1


def test_alerts_once_for_each_threshold_and_quota() -> None:
    account = Account("alice", used_bytes=70, quota_bytes=100)
    settlement = account_for({"alice": 10}, 0, Baseline(0, {}), account)
    assert settlement.charges[0].alerts == ("quota:100:80",)
    told = Account("alice", used_bytes=80, quota_bytes=100, alerts=frozenset({"quota:100:80"}))
    assert account_for({"alice": 19}, 0, Baseline(0, {}), told).alerts_fired == 0
    assert account_for({"alice": 20}, 0, Baseline(0, {}), told).charges[0].alerts == ("quota:100:100",)
    off = Account("alice", quota_bytes=1, enabled=False)
    assert account_for({"alice": 20}, 0, Baseline(0, {}), off).alerts_fired == 0


def test_status_in_order_of_precedence() -> None:
    past, future = NOW - timedelta(1), NOW + timedelta(1)
    assert Account("a", 5, 5, enabled=False, expires_at=past).status(NOW) is UserStatus.DISABLED
    assert Account("a", 5, 5, expires_at=NOW).status(NOW) is UserStatus.EXPIRED
    assert Account("a", 5, 5, expires_at=future).status(NOW) is UserStatus.OVER_QUOTA
    assert Account("a", 5, 0).status(NOW) is UserStatus.ACTIVE


def test_one_bad_entry_refuses_the_report() -> None:
    assert refusal(user_bytes={"a": 1, "user@example.com": 5}) == 'invalid proxy user id "user@example.com"'
    assert refusal(user_bytes={"": 5}) == 'invalid proxy user id ""'
    assert refusal(user_bytes={"a" * 129: 5}).startswith("invalid proxy user id")
    assert refusal(user_bytes={"a": -1}) == "proxy usage for a cannot be negative"
    assert refusal(user_bytes={f"u{n}": 1 for n in range(4097)}) == "user_bytes has too many entries"
    assert refusal(line_user_bytes={"line": {"b@d": 1}}) == 'invalid proxy user id "b@d"'
    assert refusal(line_user_bytes={f"l{n}": {} for n in range(4097)}) == "line_user_bytes has too many entries"


def test_the_largest_report_that_is_taken() -> None:
    users = {f"u{number}": 1 for number in range(4_096)}
    longest = "a" * 128
    lines = {f"l{number}": {longest: 1} for number in range(4_096)}
    report = check_report(UsageSnapshot(core_uptime_sec=7, user_bytes=users, line_user_bytes=lines), NOW)
    assert (report.counters, report.ignored, report.core_uptime_sec) == (users, 4_096, 7)
    assert refusal(line_user_bytes={"l": {f"u{number}": 1 for number in range(4_097)}}) == (
        "line_user_bytes has too many entries"
    )
    assert refusal(line_user_bytes={"l": {"a": -1}}) == "proxy usage for a cannot be negative"
    assert refusal(user_bytes={"@" * 600: 1}) == f'invalid proxy user id "{"@" * 512}"'


@pytest.mark.parametrize("user", ["a", "Z", "0", "a_.:-9", "a" * 128])
def test_what_an_id_is(user: str) -> None:
    assert check_report(UsageSnapshot(user_bytes={user: 0}), NOW).counters == {user: 0}


@pytest.mark.parametrize("user", ["_a", "-a", "a b", "é", "a" * 129])
def test_what_an_id_is_not(user: str) -> None:
    assert refusal(user_bytes={user: 0}) == f'invalid proxy user id "{user}"'


def test_the_moment_of_a_report_is_its_own_or_the_servers() -> None:
    said = datetime(2026, 2, 1, tzinfo=UTC)
    assert check_report(UsageSnapshot(at=said), NOW).at == said
    assert check_report(UsageSnapshot(), NOW).at == NOW
    checked = check_report(UsageSnapshot(collector_checked_at=said), NOW)
    assert checked.health == Health("", "ok", "", said)
    assert check_report(UsageSnapshot(), NOW).health is None


def test_two_ids_that_are_one_stop_at_the_largest_number() -> None:
    most = 2**63 - 1
    assert check_report(UsageSnapshot(user_bytes={" a": most, "a ": most}), NOW).counters == {"a": most}


def test_the_sum_of_a_report_stops_there_as_well() -> None:
    most = 2**63 - 1
    report = check_report(UsageSnapshot(user_bytes={"a": most, "b": most}), NOW)
    settlement = settle(report, "n1", {"a": Account("a"), "b": Account("b")}, Baseline(0, {}))
    assert settlement is not None
    assert settlement.bytes_delta == most
    assert [(charge.user_id, charge.delta) for charge in settlement.charges] == [("a", most), ("b", most)]


def test_after_a_restart_who_has_moved_nothing_is_not_charged() -> None:
    report = check_report(UsageSnapshot(core_uptime_sec=1, user_bytes={"a": 1, "b": 0}), NOW)
    settlement = settle(report, "n1", {"a": Account("a"), "b": Account("b")}, Baseline(2, {"a": 9, "b": 9}))
    assert settlement is not None
    assert [(charge.user_id, charge.delta) for charge in settlement.charges] == [("a", 1)]


def test_collector_health() -> None:
    assert refusal(collector_source="bad source!") == 'invalid collector_source "bad source!"'
    assert refusal(collector_status="fine") == 'invalid collector_status "fine"'
    text = "collector error reports must not include user_bytes"
    assert refusal(user_bytes={"a": 1}, collector_status="error") == text
    assert refusal(user_bytes={"a": 1}, collector_error="broken") == text
    broken = check_report(UsageSnapshot(collector_source="file", collector_error="a\tb\x00" + "c" * 600), NOW)
    assert broken.health == Health("file", "error", ("a\tb" + "c" * 600)[:512], None)
    assert (broken.counters, broken.ignored) == (None, 0)
    assert check_report(UsageSnapshot(collector_status="ok"), NOW).health == Health("", "ok", "", None)
    said = UsageSnapshot(collector_status="ok", collector_error="a warning")
    assert check_report(said, NOW).health == Health("", "ok", "a warning", None)
    assert settle(broken, "n1", {}, None) is None
    fine = check_report(UsageSnapshot(collector_source="file"), NOW)
    assert fine.health == Health("file", "ok", "", None)


def test_ids_are_trimmed_and_merged() -> None:
    assert check_report(UsageSnapshot(user_bytes={" a": 1, "a ": 2}), NOW).counters == {"a": 3}


def test_unknown_lines_are_ignored_and_their_users_counted() -> None:
    lines = {"line": {"a": 1, "b": 2}, "other": None}
    report = check_report(UsageSnapshot(user_bytes={"alice": 1}, line_user_bytes=lines), NOW)
    settlement = settle(report, "n1", {"alice": ALICE}, None)
    assert settlement is not None
    assert settlement.ignored == 2


class Model:
    """5.4 step 8 as one would write it on a napkin: the bytes billed to one user."""

    def __init__(self) -> None:
        self.last: tuple[int, int | None] | None = None
        self.billed = 0

    def report(self, uptime: int, counter: int | None) -> None:
        if self.last is not None and counter is not None:
            last_uptime, last_counter = self.last
            since = 0 if uptime < last_uptime else last_counter or 0
            self.billed += max(counter - since, 0)
        self.last = (uptime, counter)


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 50)), max_size=20))
def test_any_history_of_reports_bills_what_the_model_bills(history: list[tuple[int, int | None]]) -> None:
    model, used, baseline = Model(), 0, None
    for uptime, counter in history:
        counters = {} if counter is None else {"alice": counter}
        settlement = account_for(counters, uptime, baseline, Account("alice", used))
        used = settlement.charges[0].used_bytes if settlement.charges else used
        baseline = settlement.baseline
        model.report(uptime, counter)
        assert used == model.billed
