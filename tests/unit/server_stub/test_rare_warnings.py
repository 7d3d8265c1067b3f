"""What anybody can cause is logged once in a while, and nothing of it is kept from whoever reads the log."""

import logging

import pytest

from server_stub.rare_warnings import PERIOD_S, RareWarnings


class Clock:
    now_s = 5.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> logging.Logger:
    logger = logging.Logger("of the test")
    logger.addFilter(RareWarnings(lambda: clock.now_s))
    return logger


@pytest.fixture
def lines(log: logging.Logger) -> list[str]:
    found: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    log.addHandler(Kept())
    return found


def warn(log: logging.Logger, times: int, who: str = "x") -> None:
    for _ in range(times):
        log.warning("junk of %s", who)


def test_one_place_is_told_once_in_a_period(log: logging.Logger, lines: list[str], clock: Clock) -> None:
    warn(log, 1000)
    clock.now_s += PERIOD_S - 1
    warn(log, 1, "somebody else")
    assert lines == ["junk of x"]


def test_what_was_left_out_is_counted_in_the_next_line(log: logging.Logger, lines: list[str], clock: Clock) -> None:
    warn(log, 3)
    clock.now_s += PERIOD_S
    warn(log, 1, "100 %")
    clock.now_s += PERIOD_S
    warn(log, 1)
    assert lines == ["junk of x", "junk of 100 % (and 2 times since this was told last)", "junk of x"]


def test_places_are_told_apart(log: logging.Logger, lines: list[str]) -> None:
    warn(log, 5)
    for _ in range(5):
        log.warning("something else")
    assert lines == ["junk of x", "something else"]


def test_errors_pass(log: logging.Logger, lines: list[str]) -> None:
    for _ in range(5):
        log.error("a fault")
        log.info("a word")
    assert lines == ["a fault", "a word"] * 5
