"""The books of one source: what proves a restart, and what a reading adds."""

import pytest

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage import ledger
from lattice_agent.usage.ledger import (
    Moment,
    SourceBook,
    is_restarted,
    line_key,
    line_of,
    summed,
    take_reading,
    user_of,
)
from lattice_agent.usage.normalise import ABSURD_BYTES, Counters


def at(second: float, boot_id: str = "boot-1") -> Moment:
    return Moment(boot_id, second)


RESTARTS = {
    "the same run": (50, 60, 10.0, False),
    "an uptime that stands still": (50, 50, 2.0, False),
    "younger than the reading before is old": (5, 8, 10.0, True),
    "rounded down, so not younger": (5, 9, 10.0, False),
    "younger though it says more than before": (1, 40, 100.0, True),
    "it fell": (50, 2, 3.0, True),
    "it fell to as much as clocks may differ": (50, 7, 2.0, True),
    "it fell by a wall clock that was set back": (5000, 1400, 10.0, False),
    "it fell to just more than clocks may differ": (50, 8, 2.0, False),
    "a wall clock that was set forward": (50, 99_999, 2.0, False),
    "not known now": (50, 0, 100.0, False),
    "not known before": (0, 3, 2.0, False),
    "not known before, but younger": (0, 3, 10.0, True),
    "never known": (0, 0, 1000.0, False),
}


@pytest.mark.parametrize(("before_s", "now_s", "elapsed_s", "expected"), RESTARTS.values(), ids=RESTARTS)
def test_a_restart_needs_proof(before_s: int, now_s: int, elapsed_s: float, expected: bool) -> None:
    book = SourceBook(uptime_s=before_s, taken=at(1000.0))
    assert is_restarted(book, now_s, at(1000.0 + elapsed_s)) is expected


@pytest.mark.parametrize("uptime_s", [0, 50, 99_999])
def test_another_boot_is_proof_whatever_the_uptime(uptime_s: int) -> None:
    assert is_restarted(SourceBook(uptime_s=50, taken=at(1000.0)), uptime_s, at(2.0, "boot-2"))


READINGS: dict[str, tuple[dict[str, int], int, dict[str, int], dict[str, int]]] = {
    "grown": ({"ann": 150}, 110, {"ann": 150}, {"ann": 57}),
    "the same": ({"ann": 100}, 110, {"ann": 100}, {"ann": 7}),
    "new in this run": ({"ann": 100, "bob": 30}, 110, {"ann": 100, "bob": 30}, {"ann": 7, "bob": 30}),
    "absent": ({}, 110, {"ann": 100}, {"ann": 7}),
    "fell without proof": ({"ann": 20}, 110, {"ann": 20}, {"ann": 27}),
    "reset and not used": ({"ann": 0}, 110, {"ann": 0}, {"ann": 7}),
    "restarted, more than before": ({"ann": 120}, 3, {"ann": 120}, {"ann": 127}),
    "restarted, absent": ({}, 3, {}, {"ann": 7}),
    "restarted, others": ({"bob": 5}, 3, {"bob": 5}, {"ann": 7, "bob": 5}),
}


@pytest.mark.parametrize(("seen", "uptime_s", "raw", "totals"), READINGS.values(), ids=READINGS)
def test_what_a_reading_adds(seen: dict[str, int], uptime_s: int, raw: dict[str, int], totals: dict[str, int]) -> None:
    book = SourceBook({"ann": 100}, {"ann": 7}, 100, at(1000.0))
    after = take_reading(book, Counters(seen, core_uptime_s=uptime_s), at(1010.0))
    assert after == SourceBook(raw, totals, uptime_s, at(1010.0))


def test_the_first_reading_only_sets_what_later_ones_are_compared_with() -> None:
    book = take_reading(None, Counters({"ann": 500}, {"line": {"ann": 400}}, 9), at(5.0))
    assert book == SourceBook({"ann": 500, line_key("line", "ann"): 400}, {"ann": 0, "line\nann": 0}, 9, at(5.0))


def test_one_that_is_absent_for_a_while_goes_on_where_it_was() -> None:
    book = SourceBook({"ann": 100}, {"ann": 7}, 100, at(1000.0))
    for second, seen in ((2, {}), (4, {"ann": 110})):
        book = take_reading(book, Counters(seen, core_uptime_s=100 + second), at(1000.0 + second))
    assert book.totals == {"ann": 17}


def test_an_old_uptime_does_not_prove_the_same_restart_again() -> None:
    book = SourceBook({"ann": 100}, {"ann": 100}, 50, at(1000.0))
    book = take_reading(book, Counters({"ann": 30}, core_uptime_s=0), at(1002.0))  # restarted, and too young to say so
    book = take_reading(book, Counters({"ann": 35}, core_uptime_s=2), at(1004.0))
    assert book.totals == {"ann": 135}


def test_an_uptime_of_the_boot_before_does_not_prove_a_restart_in_this_one() -> None:
    book = SourceBook({"ann": 100}, {"ann": 100}, 5000, at(9000.0))
    book = take_reading(book, Counters({"ann": 30}), at(10.0, "boot-2"))
    book = take_reading(book, Counters({"ann": 35}, core_uptime_s=3), at(12.0, "boot-2"))
    assert book.totals == {"ann": 135}


def test_a_core_that_restarts_while_it_is_read_has_restarted_once() -> None:
    book = SourceBook({"ann": 100}, {"ann": 100}, 50, at(1000.0))
    book = take_reading(book, Counters({"ann": 30}, core_uptime_s=1), at(1002.0), at(1004.5))  # it began at 1003.2
    book = take_reading(book, Counters({"ann": 35}, core_uptime_s=3), at(1006.5))
    assert book.totals == {"ann": 135}


FILES = {
    "not written since, and the core was young": (1, at(1002.5)),
    "not written while the agent was down": (9, at(1060.0)),
    "not written since a reboot": (5000, at(3.0, "boot-2")),
    "not written since a reboot, without an uptime": (0, at(3.0, "boot-2")),
}


@pytest.mark.parametrize(("uptime_s", "now"), FILES.values(), ids=FILES)
def test_a_file_that_nobody_has_written_is_no_restarted_core(uptime_s: int, now: Moment) -> None:
    book = SourceBook({"ann": 100, "bob": 5}, {"ann": 100, "bob": 5}, uptime_s, at(1000.0))
    assert take_reading(book, Counters({"ann": 100}, core_uptime_s=uptime_s), now) == book


def test_after_a_reboot_the_old_file_does_not_hide_the_restart() -> None:
    book = SourceBook({"ann": 100}, {"ann": 100}, 5000, at(9000.0))
    book = take_reading(book, Counters({"ann": 100}, core_uptime_s=5000), at(3.0, "boot-2"))
    book = take_reading(book, Counters({"ann": 130}, core_uptime_s=2), at(5.0, "boot-2"))
    assert book.totals == {"ann": 230}


def test_a_core_that_has_moved_nothing_since_its_restart_has_restarted() -> None:
    book = SourceBook({"ann": 100}, {"ann": 100}, 5, at(1000.0))
    book = take_reading(book, Counters({}, core_uptime_s=5, is_live=True), at(1010.0))
    assert (book.raw, book.taken) == ({}, at(1010.0))
    assert take_reading(book, Counters({"ann": 120}, core_uptime_s=7), at(1012.0)).totals == {"ann": 220}


def test_a_sum_that_cannot_be_true_is_refused() -> None:
    book = SourceBook({"ann": 10}, {"ann": ABSURD_BYTES - 5}, 100, at(1000.0))
    assert take_reading(book, Counters({"ann": 15}, core_uptime_s=101), at(1001.0)).totals == {"ann": ABSURD_BYTES}
    with pytest.raises(UsageSourceError, match=r"'ann' would have moved 9007199254740993 bytes \(\+6\), above 2\^53"):
        take_reading(book, Counters({"ann": 16}, core_uptime_s=101), at(1001.0))


def test_a_book_begins_empty_and_at_no_moment() -> None:
    assert SourceBook() == SourceBook({}, {}, 0, Moment("", 0.0))


def test_a_key_is_a_user_or_a_line_and_a_user() -> None:
    keys = ("ann", line_key("line", "ann"))
    assert [(line_of(key), user_of(key)) for key in keys] == [("", "ann"), ("line", "ann")]


def test_an_id_that_stands_still_does_not_hide_one_that_has_moved() -> None:
    book = SourceBook({"ann": 100, "bob": 5}, {"ann": 100, "bob": 5}, 9, at(1000.0))
    moved = take_reading(book, Counters({"ann": 100, "bob": 9}, core_uptime_s=9), at(1001.0))
    assert moved.totals == {"ann": 100, "bob": 9}


def test_an_uptime_that_stands_still_right_after_the_start_is_no_restart() -> None:
    assert not is_restarted(SourceBook(uptime_s=3, taken=at(1000.0)), 3, at(1000.0))


@pytest.mark.parametrize(("uptime_s", "expected"), [(0, False), (1, True), (30, True), (31, False)])
def test_a_document_of_another_boot_is_of_this_one_if_its_uptime_fits(uptime_s: int, expected: bool) -> None:
    book = SourceBook(uptime_s=50, taken=at(1000.0))
    assert is_restarted(book, uptime_s, at(30.0, "boot-2"), is_live=False) is expected


def test_the_id_whose_sum_cannot_be_true_is_named() -> None:
    book = SourceBook({"ann": 1, "bob": 1}, {"ann": ABSURD_BYTES, "bob": ABSURD_BYTES}, 100, at(1000.0))
    with pytest.raises(UsageSourceError, match=r"^'bob' would have moved"):
        take_reading(book, Counters({"ann": 1, "bob": 2}, core_uptime_s=101), at(1001.0))


def test_65536_ids_are_counted_and_one_more_is_refused() -> None:
    users = dict.fromkeys((f"u{number}" for number in range(65_536)), 1)
    assert len(take_reading(None, Counters(users), at(5.0)).totals) == 65_536
    with pytest.raises(UsageSourceError, match="more than 65536 ids were seen; those beyond cannot be counted"):
        take_reading(None, Counters({**users, "one more": 1}), at(5.0))


def test_ids_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEYS_LIMIT", 2)
    book = SourceBook({"ann": 1}, {"ann": 1}, 100, at(1000.0))
    assert len(take_reading(book, Counters({"bob": 1}, core_uptime_s=101), at(1001.0)).totals) == 2
    with pytest.raises(UsageSourceError, match="more than 2 ids were seen") as caught:
        take_reading(book, Counters({"bob": 1, "cid": 1}, core_uptime_s=101), at(1001.0))
    assert "labels its users" in caught.value.hint()


def test_the_first_reading_of_too_many_ids_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEYS_LIMIT", 1)
    with pytest.raises(UsageSourceError, match="more than 1 ids were seen"):
        take_reading(None, Counters({"ann": 1, "bob": 1}), at(5.0))


def test_sums_over_sources() -> None:
    books = {"one": SourceBook(totals={"ann": 1, "bob": 2}), "two": SourceBook(totals={"ann": 10, "cid": 3})}
    assert summed(books) == {"ann": 11, "bob": 2, "cid": 3}
    assert books["one"].totals == {"ann": 1, "bob": 2}
    assert summed({}) == {}
