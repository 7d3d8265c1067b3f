"""Reports over the base wire: what one holds, in which order the rest follows, and what an answer changes."""

from collections import Counter

import pytest

from lattice_agent.usage import billing as base
from lattice_agent.usage.billing import Billing, Part, Pending, next_part
from lattice_agent.usage.ledger import line_key, line_of, user_of
from lattice_agent.usage.messages import Collector, values_report
from lattice_agent.usage.normalise import IDS_LIMIT
from lattice_agent.wire.base import BODY_LIMIT
from tests.unit.usage.ledger_world import NOW
from tests.unit.usage.world import Core, Node, Server

READY = Billing(zero_due=False)
WIDE = "\U0001f5a7" * 64
"""A line id of 256 bytes."""


def rounds(totals: dict[str, int]) -> list[Part]:
    """The values reports that tell all of it, each accepted and followed by the zero report that it needs."""
    billing, parts = READY, []
    for _ in range(100):
        if all(total <= billing.billed.get(key, 0) for key, total in totals.items()):
            return parts
        part = next_part(billing, totals)
        if part is None:
            billing = base.zero_accepted(billing)
            continue
        parts.append(part)
        billing = base.values_accepted(base.with_pending(billing, part, b""), 0)
    raise AssertionError("not everything is ever told")


def test_more_users_than_a_report_holds_are_billed_in_parts() -> None:
    users = [f"user-{number}" for number in range(2 * IDS_LIMIT + 100)]
    core, server, node = Core(), Server(set(users)), Node()
    core.counters.update(dict.fromkeys(users, 7))
    node.read("one", core, "boot-1", 10.0)
    largest = 0
    for second in range(1, 4):
        for user in users[:: second * 2 - 1]:
            core.move(user, second)
        node.read("one", core, "boot-1", 10.0 + 2 * second)
        for _ in range(8):
            node.compose()
            largest = max(largest, len(node.values()))
            node.answered(*server.take(node.values()), no_profile=False)
    assert largest == IDS_LIMIT
    assert server.billed == core.truth


def test_what_fits_goes_out_at_once() -> None:
    totals = {f"user-{number}": 1 for number in range(IDS_LIMIT)}
    assert next_part(READY, totals) == Part(totals, is_all=True)


def test_parts_follow_each_other_and_begin_anew_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "IDS_LIMIT", 2)
    totals = dict.fromkeys("abcde", 1)
    assert [list(part.totals) for part in rounds(totals)] == [["a", "b"], ["c", "d"], ["e"]]
    after_d = Billing(zero_due=False, resume_after="d")
    part = next_part(after_d, totals)
    assert part is not None
    assert list(part.totals) == ["e", "a"]  # who is early in the alphabet does not starve the others


def test_a_part_waits_for_a_zero_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "IDS_LIMIT", 2)
    assert next_part(Billing(zero_due=False, baseline=frozenset("a")), dict.fromkeys("abc", 1)) is None
    assert next_part(Billing(), {}) is None


def test_one_with_a_baseline_is_told_again_and_one_without_is_left_out() -> None:
    billing = Billing(zero_due=False, offsets={"a": 5, "b": 5}, billed={"a": 5, "b": 5}, baseline=frozenset("a"))
    part = next_part(billing, {"a": 5, "b": 5, "c": 1})
    assert part == Part({"a": 5, "c": 1}, is_all=True)
    assert base.values_of(billing, part.totals) == {"a": 0, "c": 1}


def test_lines_stay_with_their_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "IDS_LIMIT", 4)
    totals = {key: 1 for user in "abcd" for key in (user, line_key("x", user), line_key("y", user))}
    parts = rounds(totals)
    assert Counter(key for part in parts for key in part.totals) == Counter(totals)
    for part in parts:
        told = {user_of(key) for key in part.totals}
        assert set(part.totals) == {key for key in totals if user_of(key) in told}


@pytest.mark.parametrize("lines", [IDS_LIMIT - 1, IDS_LIMIT, IDS_LIMIT + 1])
def test_a_user_whose_lines_fill_a_report_is_told_with_or_without_them(lines: int) -> None:
    ann = {"ann": lines} | {line_key(f"line-{number}", "ann"): 1 for number in range(lines)}
    part = next_part(READY, {**ann, **{f"user-{number}": 1 for number in range(IDS_LIMIT)}})
    assert part is not None
    assert not part.is_all
    assert len(part.totals) == IDS_LIMIT
    with_lines = sum(1 for key in part.totals if line_of(key))
    assert with_lines == (lines if lines < IDS_LIMIT else 0)


def test_lines_without_a_sum_that_no_report_holds_stop_nobody() -> None:
    lines = {line_key(f"line-{number}", "ann"): 1 for number in range(IDS_LIMIT + 1)}
    part = next_part(READY, lines)
    assert part == Part({}, is_all=True)
    assert base.with_pending(READY, part, b"").resume_after == ""
    beside = next_part(READY, {**lines, "bob": 1})
    assert beside == Part({"bob": 1}, is_all=False)


@pytest.mark.parametrize(
    "keys",
    [
        [f"{number:0128}" for number in range(3 * IDS_LIMIT)],
        [key for number in range(3000) for key in (f"u{number}", line_key(f"{number:04}{WIDE}"[:64], f"u{number}"))],
        [key for number in range(3000) for key in (f"u{number}", line_key(f"{number:04}" + '"\\' * 126, f"u{number}"))],
    ],
    ids=["long ids", "wide lines", "escaped lines"],
)
def test_no_report_is_larger_than_a_body_may_be(keys: list[str]) -> None:
    totals = dict.fromkeys(keys, 2**53)
    parts = rounds(totals)
    assert len(parts) > 1
    told = {key for part in parts for key in part.totals}
    assert told == set(totals)
    collector = Collector("x" * 128, NOW)
    assert max(len(values_report("n" * 128, part.totals, collector)) for part in parts) <= BODY_LIMIT


def sent(maybe_arrived: bool) -> Billing:
    pending = Pending({"ann": 30}, b"", maybe_arrived)
    return Billing(zero_due=False, billed={"ann": 10}, offsets={"ann": 5}, baseline=frozenset({"ann"}), pending=pending)


REFUSALS = {
    "it never arrived": (sent(False), False, 10),
    "it may have arrived": (sent(True), False, 30),
    "nobody is to be billed": (sent(False), True, 45),
    "nobody is to be billed, and it may have arrived": (sent(True), True, 45),
}


@pytest.mark.parametrize(("billing", "no_profile", "billed"), REFUSALS.values(), ids=REFUSALS)
def test_after_a_refusal_a_zero_report_follows(billing: Billing, no_profile: bool, billed: int) -> None:
    after = base.refused(billing, {"ann": 45}, no_profile=no_profile)
    assert (after.pending, after.zero_due, after.billed) == (None, True, {"ann": billed})
    assert (after.offsets, after.baseline) == (billing.offsets, billing.baseline)
    assert base.zero_accepted(after).offsets == {"ann": billed}


@pytest.mark.parametrize("ignored", [0, 1])
def test_after_ignored_users_a_zero_report_follows(ignored: int) -> None:
    after = base.values_accepted(sent(False), ignored)
    assert (after.pending, after.zero_due, after.billed) == (None, ignored > 0, {"ann": 30})
    assert after.offsets == {"ann": 5}
    assert after.baseline == frozenset({"ann"})


def test_nobody_is_told_of_whose_value_is_0() -> None:
    billing = Billing(zero_due=False, offsets={"ann": 5, "bob": 5}, billed={"ann": 5, "bob": 5})
    part = base.next_part(billing, {"ann": 5, "bob": 6})
    assert part is not None
    assert part.totals == {"bob": 6}
    taken = base.values_accepted(base.with_pending(billing, part, b""), 0)
    assert taken.baseline == {"bob"}


def test_no_answer_makes_only_a_values_report_unknown() -> None:
    assert base.unanswered(READY) == READY
    assert base.unanswered(sent(False)) == base.unanswered(sent(True)) == sent(True)
