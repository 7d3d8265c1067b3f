"""What a server that keeps ledgers is told, and what is known of it after an answer or none."""

import pytest

from lattice_agent.usage import ledger_account as way
from lattice_agent.usage.billing import Billing
from lattice_agent.usage.ledger import line_key
from lattice_agent.usage.ledger_account import LedgerAccount

LINE = line_key("line", "ann")


def test_only_who_has_moved_is_told() -> None:
    assert way.next_told(Billing(billed={"ann": 5, "bob": 5}), {"ann": 5, "bob": 6, "cid": 0, "dan": 1}) == {
        "bob": 6,
        "dan": 1,
    }


def test_of_more_users_than_fit_the_first_are_told_with_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way, "MAX_LEDGER_IDS", 2)
    totals = {"cid": 1, "ann": 1, "bob": 1, LINE: 1, line_key("line", "cid"): 1}
    assert way.next_told(Billing(), totals) == {"ann": 1, "bob": 1, LINE: 1}
    assert way.next_told(Billing(billed={"ann": 1, "bob": 1, LINE: 1}), totals) == {
        "cid": 1,
        line_key("line", "cid"): 1,
    }


def test_what_was_billed_over_the_base_wire_is_not_told_again() -> None:
    account, billing = LedgerAccount(taken={"ann": 10}), Billing(billed={"ann": 100})
    assert way.wire_totals(account, billing, {"ann": 130, "bob": 4, LINE: 7}) == {"ann": 40, "bob": 4}


def test_what_the_server_took_is_billed() -> None:
    billing = Billing(billed={"ann": 100})
    account = way.telling(LedgerAccount(taken={"ann": 10}), {"ann": 130, LINE: 7})
    account, billing = way.accepted(account, billing, {"ann": 130, LINE: 7})
    assert account == LedgerAccount(taken={"ann": 40})
    assert billing.billed == {"ann": 130, LINE: 7}


def test_what_an_unanswered_report_told_is_remembered_until_it_is_billed() -> None:
    account = way.telling(LedgerAccount(), {"ann": 10, "zoe": 10})
    account = way.telling(account, {"ann": 12})  # another report, which had no room for zoe
    account, billing = way.accepted(account, Billing(), {"ann": 12})
    assert account.told == {"zoe": 10}
    account, billing = way.to_base(account, billing)
    assert billing.billed == {"ann": 12, "zoe": 10}


def test_a_refused_report_was_not_taken_and_those_before_it_may_have_been() -> None:
    before = way.telling(LedgerAccount(), {"ann": 10})
    account = way.refused(way.telling(before, {"ann": 15, "bob": 1}), before)
    assert way.to_base(account, Billing())[1].billed == {"ann": 10}
    fresh = LedgerAccount()
    assert way.to_base(way.refused(way.telling(fresh, {"ann": 15}), fresh), Billing())[1].billed == {}


def test_without_a_profile_everything_until_now_is_nobodys() -> None:
    account = LedgerAccount(taken={"ann": 10}, told={"ann": 30}, is_used=True)
    account, billing = way.no_profile(account, Billing(billed={"ann": 10}), {"ann": 45, "bob": 3})
    assert account == LedgerAccount(taken={"ann": 10}, is_used=True)
    assert way.wire_totals(account, billing, {"ann": 46}) == {"ann": 11}


def test_between_the_wires_the_snapshot_is_cleared() -> None:
    there, billing = way.to_ledger(LedgerAccount(), Billing(zero_due=False))
    assert (there.is_used, billing.zero_due) == (True, True)
    back, billing = way.to_base(there, Billing(zero_due=False))
    assert (back.is_used, billing.zero_due) == (False, True)


def test_a_report_of_unknown_fate_is_brought_by_the_next_one_after_the_base_wire() -> None:
    account = way.telling(LedgerAccount(taken={"ann": 10}), {"ann": 30})
    account, billing = way.to_base(account, Billing(billed={"ann": 10}))
    assert way.wire_totals(account, billing, {"ann": 31}) == {"ann": 31}
