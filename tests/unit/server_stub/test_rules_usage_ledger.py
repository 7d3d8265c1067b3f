"""Ledger reports become bytes on accounts: never more than was counted, and all of it when they come in order."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.wire.usage import LedgerReport, UsageLedger
from server_stub.errors import Refused
from server_stub.rules.accounts import Account
from server_stub.rules.usage_ledger import (
    MAX_IDS,
    MAX_LEDGERS,
    MAX_TOTAL,
    KnownLedger,
    LedgerSettlement,
    check_ledger_report,
    settle_ledger,
)
from server_stub.rules.usage_report import Health

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ID = "0123456789abcdef" * 2
ALICE = Account("alice")


def settled(
    totals: dict[str, int], seq: int = 1, known: KnownLedger | None = None, account: Account = ALICE
) -> LedgerSettlement:
    settlement = settle_ledger(UsageLedger(id=ID, seq=seq, totals=totals), "n1", {account.user_id: account}, known)
    assert settlement is not None
    return settlement


def test_a_ledger_that_is_new_here_counts_from_nothing() -> None:
    settlement = settled({"alice": 500, "stranger": 7}, seq=0)
    assert [(one.user_id, one.delta, one.used_bytes) for one in settlement.charges] == [("alice", 500, 500)]
    assert (settlement.ignored, settlement.seq, settlement.ids) == (1, 0, 2)
    assert settlement.totals == {"alice": 500, "stranger": 7}


@pytest.mark.parametrize(
    ("total", "delta", "remembered"),
    [(140, 40, {"alice": 140}), (100, 0, {}), (99, 0, {}), (0, 0, {})],
)
def test_what_a_total_has_grown_by_is_billed_and_one_that_fell_keeps_its_height(
    total: int, delta: int, remembered: dict[str, int]
) -> None:
    settlement = settled({"alice": total}, 2, KnownLedger(1, {"alice": 100}, 1))
    assert settlement.bytes_delta == delta
    assert settlement.totals == remembered
    assert len(settlement.charges) == (1 if delta else 0)


@pytest.mark.parametrize("seq", [0, 4, 5])
def test_late_and_repeated_reports_change_nothing(seq: int) -> None:
    known = KnownLedger(5, {"alice": 100}, 1)
    assert settle_ledger(UsageLedger(id=ID, seq=seq, totals={"alice": 900}), "n1", {"alice": ALICE}, known) is None


def test_totals_move_without_billing_for_who_is_nobody_or_not_counted_here() -> None:
    elsewhere = Account("alice", nodes=frozenset({"n2"}))
    settlement = settled({"alice": 500, "bob": 3}, 2, KnownLedger(1, {"alice": 100}, 1), elsewhere)
    assert (settlement.charges, settlement.ignored, settlement.ids) == ((), 2, 2)
    assert settlement.totals == {"alice": 500, "bob": 3}
    back = settled({"alice": 520}, 3, KnownLedger(2, {"alice": 500}, 2))
    assert back.bytes_delta == 20


def test_a_total_of_zero_is_an_id_that_is_known_from_now_on() -> None:
    settlement = settled({"alice": 0})
    assert (settlement.totals, settlement.ids, settlement.charges) == ({"alice": 0}, 1, ())


def test_the_bounds_of_what_is_remembered_and_taken() -> None:
    """A total is a number that every JSON reader can tell from its neighbours."""
    assert (MAX_LEDGERS, MAX_IDS, MAX_TOTAL) == (8, 65_536, 9_007_199_254_740_992)


def test_a_ledger_has_a_bounded_number_of_ids() -> None:
    full = KnownLedger(1, {"alice": 1}, MAX_IDS)
    assert settled({"alice": 2}, 2, full).bytes_delta == 1
    with pytest.raises(Refused, match="more than 65536 user ids") as refused:
        settled({"alice": 2, "one more": 0}, 2, full)
    assert refused.value.status == 400


def refusal(**fields: object) -> str:
    with pytest.raises(Refused) as refused:
        check_ledger_report(LedgerReport(**fields), NOW)  # type: ignore[arg-type]  # fields by name
    assert refused.value.status == 400
    return refused.value.message


@pytest.mark.parametrize("wrong", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 32 + "\n", "٣" * 32])
def test_a_ledger_id_is_32_hex_digits(wrong: str) -> None:
    assert refusal(ledger=UsageLedger(id=wrong)) == "invalid usage ledger id: it must be 32 hex digits, lower case"


def test_one_bad_entry_refuses_the_report() -> None:
    assert refusal(ledger=UsageLedger(id=ID, totals={"a@b": 1})) == 'invalid proxy user id "a@b"'
    assert refusal(ledger=UsageLedger(id=ID, totals={" a": 1})) == 'invalid proxy user id " a"'
    high = MAX_TOTAL + 1
    assert refusal(ledger=UsageLedger(id=ID, totals={"a": high})) == f"proxy usage for a is above {MAX_TOTAL}"
    assert refusal(ledger=UsageLedger(id=ID, seq=high)) == f"usage ledger seq {high} is above {MAX_TOTAL}"
    assert refusal(collector_source="no good!") == 'invalid collector_source "no good!"'
    assert refusal(collector_status="fine") == 'invalid collector_status "fine"'
    assert check_ledger_report(LedgerReport(ledger=UsageLedger(id=ID, seq=MAX_TOTAL, totals={"a": MAX_TOTAL})), NOW)


def test_health_may_come_alone_or_beside_totals() -> None:
    alone = check_ledger_report(LedgerReport(collector_source="multi", collector_error="xray: no answer"), NOW)
    assert (alone.ledger, alone.health) == (None, Health("multi", "error", "xray: no answer", None))
    ledger = UsageLedger(id=ID, totals={"a": 1})
    beside = check_ledger_report(LedgerReport(ledger=ledger, collector_status="error"), NOW)
    assert beside.ledger == ledger
    assert beside.at == NOW
    said = datetime(2026, 2, 1, tzinfo=UTC)
    assert check_ledger_report(LedgerReport(at=said), NOW).at == said


@dataclass
class Server:
    """What a server keeps, in memory: the rule decides, this only remembers."""

    eligible: bool = True
    seqs: dict[str, int] = field(default_factory=dict)
    totals: dict[tuple[str, str], int] = field(default_factory=dict)
    billed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, ledger: UsageLedger) -> None:
        known = None
        if ledger.id in self.seqs:
            mine = {user: self.totals[ledger.id, user] for user in ledger.totals if (ledger.id, user) in self.totals}
            ids = sum(one == ledger.id for one, _ in self.totals)
            known = KnownLedger(self.seqs[ledger.id], mine, ids)
        nodes = frozenset() if self.eligible else frozenset({"elsewhere"})
        accounts = {user: Account(user, self.billed[user], nodes=nodes) for user in ("a", "b")}
        settlement = settle_ledger(ledger, "n1", accounts, known)
        if settlement is None:
            return
        self.seqs[ledger.id] = settlement.seq
        self.totals |= {(ledger.id, user): total for user, total in settlement.totals.items()}
        for charge in settlement.charges:
            self.billed[charge.user_id] = charge.used_bytes
        assert settlement.ids == sum(one == ledger.id for one, _ in self.totals)


LEDGERS = ("1" * 32, "2" * 32, "3" * 32)
growths = st.lists(
    st.tuples(st.sampled_from(LEDGERS), st.dictionaries(st.sampled_from("abz"), st.integers(0, 9))), max_size=25
)


def reports_of(history: list[tuple[str, dict[str, int]]]) -> tuple[list[UsageLedger], dict[str, int]]:
    """A report after each step of growth, in order, and what every user has truly transferred at the end."""
    totals: dict[str, dict[str, int]] = defaultdict(dict)
    truth: dict[str, int] = defaultdict(int)
    reports = []
    for seq, (ledger, grown) in enumerate(history):
        for user, count in grown.items():
            totals[ledger][user] = totals[ledger].get(user, 0) + count
            truth[user] += count
        # Ids that did not move are left out of every other report, as a ledger may.
        shown = {user: totals[ledger][user] for user in grown} if seq % 2 else dict(totals[ledger])
        reports.append(UsageLedger(id=ledger, seq=seq, totals=shown))
    return reports, truth


@given(growths)
def test_all_reports_in_order_bill_exactly_what_was_transferred(history: list[tuple[str, dict[str, int]]]) -> None:
    reports, truth = reports_of(history)
    server = Server()
    for report in reports:
        server.take(report)
        server.take(report)  # every answer was lost once
    assert {user: server.billed[user] for user in "ab"} == {user: truth[user] for user in "ab"}


@given(growths, st.data())
def test_reports_lost_repeated_and_in_any_order_never_bill_more(
    history: list[tuple[str, dict[str, int]]], data: st.DataObject
) -> None:
    reports, truth = reports_of(history)
    arriving = data.draw(st.lists(st.sampled_from(reports), max_size=40)) if reports else []
    server = Server()
    for report in arriving:
        server.take(report)
        server.eligible = data.draw(st.booleans())
    assert all(server.billed[user] <= truth[user] for user in "ab")


@given(growths, st.data())
def test_whole_reports_bill_everything_up_to_the_newest_that_came(
    history: list[tuple[str, dict[str, int]]], data: st.DataObject
) -> None:
    whole: dict[str, dict[str, int]] = defaultdict(dict)
    reports = []
    for seq, (ledger, grown) in enumerate(history):
        for user, count in grown.items():
            whole[ledger][user] = whole[ledger].get(user, 0) + count
        reports.append(UsageLedger(id=ledger, seq=seq, totals=dict(whole[ledger])))
    arriving = data.draw(st.lists(st.sampled_from(reports), max_size=30)) if reports else []
    server, newest = Server(), dict[str, UsageLedger]()
    for report in arriving:
        server.take(report)
        if report.id not in newest or report.seq > newest[report.id].seq:
            newest[report.id] = report
    for user in "ab":
        assert server.billed[user] == sum(report.totals.get(user, 0) for report in newest.values())
