"""When a core has certainly restarted, and when it only seems so: added twice is billed twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.usage.ledger import Moment, SourceBook, is_restarted, take_reading
from lattice_agent.usage.normalise import Counters


def at(seconds: float, boot: str = "boot") -> Moment:
    return Moment(boot, seconds)


def shown(count: int, uptime_s: int, *, is_live: bool = False) -> Counters:
    return Counters({"ann": count}, core_uptime_s=uptime_s, is_live=is_live)


@pytest.mark.parametrize(
    ("before_s", "uptime_s", "elapsed_s", "is_live", "restarted"),
    [
        (100, 102, 2.0, True, False),
        (100, 0, 500.0, True, False),  # not known
        (100, 58, 60.0, True, True),  # younger than the reading before is old
        (100, 59, 60.0, True, True),  # and its uptime fell
        (50, 59, 60.0, True, False),  # rounded down, it may be as old as that reading
        (100, 300, 3600.0, True, True),  # it restarted while we were down, and runs longer than it had
        (100, 300, 3600.0, False, False),  # a document that says so may be old
        (100, 2, 2.0, False, True),
        (100, 40, 2.0, False, False),  # fell, but it claims to have run at the reading before: a clock was set back
        (100, 7, 2.0, False, True),  # a document that was written when the reading before was some seconds old
        (100, 8, 2.0, False, False),
    ],
)
def test_proof(before_s: int, uptime_s: int, elapsed_s: float, is_live: bool, restarted: bool) -> None:
    book = SourceBook({"ann": 1}, {"ann": 0}, before_s, at(1000.0))
    assert is_restarted(book, uptime_s, at(1000.0 + elapsed_s), is_live=is_live) is restarted


def test_another_boot_is_proof_whatever_the_clocks_say() -> None:
    book = SourceBook({"ann": 1}, {"ann": 0}, 100, at(1000.0))
    assert is_restarted(book, 0, at(5.0, "other"))


def test_a_document_that_nobody_writes_any_more_is_counted_once() -> None:
    book = take_reading(None, shown(100, 1), at(2.0))
    for seconds in range(4, 400, 2):
        book = take_reading(book, shown(100, 1), at(float(seconds)))
    assert book.totals == {"ann": 0}


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 50)), min_size=1, max_size=8), st.integers(1, 40))
def test_a_document_written_now_and_then_is_counted_once_however_it_is_read(
    readings: list[tuple[int, int]], every_s: int
) -> None:
    """A core that never restarts; a document written every so many seconds; readings with gaps."""
    now, moved, book = 1000, 0, None
    written = (0, 1)
    last_written = now
    for gap_s, count in readings:
        for _ in range(gap_s):
            now += 1
            if (now - 1000) % every_s == 0:
                written, last_written = (moved, now - 999), now
        moved += count
        book = take_reading(book, shown(*written), at(float(now)))
    assert last_written <= now
    assert book is not None
    assert book.totals["ann"] <= moved


def test_a_core_that_restarts_while_it_is_asked_is_counted_once() -> None:
    book = take_reading(None, shown(100, 500, is_live=True), at(10.0), at(10.01))
    # Asked at 12, restarted at 13, answered by the new core at 15.
    book = take_reading(book, shown(40, 1, is_live=True), at(12.0), at(15.0))
    assert book.totals == {"ann": 40}
    book = take_reading(book, shown(60, 4, is_live=True), at(17.0), at(17.01))
    assert book.totals == {"ann": 60}


def test_an_uptime_that_is_missing_once_proves_no_restart_twice() -> None:
    book = take_reading(None, shown(100, 500, is_live=True), at(10.0))
    book = take_reading(book, shown(40, 0, is_live=True), at(12.0))  # restarted at 11; it does not say so
    book = take_reading(book, shown(60, 3, is_live=True), at(14.0))
    assert book.totals == {"ann": 60}


@pytest.mark.parametrize(("uptime_s", "total"), [(0, 50), (400, 50), (20, 150)])
def test_a_document_of_another_boot_counts_in_full_only_if_it_was_written_in_this_one(
    uptime_s: int, total: int
) -> None:
    book = take_reading(None, shown(100, 300), at(5000.0, "before"))
    book = take_reading(book, shown(150, uptime_s), at(30.0, "after"))
    assert book.totals == {"ann": total}


def test_a_core_that_never_said_its_uptime_is_counted_by_differences() -> None:
    book = take_reading(None, shown(100, 0), at(10.0))
    for count in (130, 20, 25):
        book = take_reading(book, shown(count, 0), at(12.0))
    assert book.totals == {"ann": 30 + 20 + 5}
