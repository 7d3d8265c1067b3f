from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.uptime import boot_time_at, boot_time_before, parse_boot_time, parse_uptime
from tests.unit.facts.trees import STAT

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)


def test_boot_time_is_the_kernels_own_to_the_second() -> None:
    assert parse_boot_time(STAT) == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("stat", ["", "btime\n", "btime x\n", "btime 0\n", "btime 99999999999999\n", "xbtime 5\n"])
def test_a_missing_or_absurd_btime_is_unknown(stat: str) -> None:
    assert parse_boot_time(stat) is None


def test_without_btime_it_is_now_less_the_uptime_without_fraction() -> None:
    assert boot_time_before(NOW, 86_405) == datetime(2026, 1, 1, 3, 4, 0, tzinfo=UTC)
    assert boot_time_before(NOW, 0) is None
    assert boot_time_before(NOW, 10**15) is None


def test_boot_time_takes_the_fraction_off() -> None:
    assert boot_time_at(1.9) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
    assert boot_time_at(-5) is None


@pytest.mark.parametrize(("text", "seconds"), [("86400.99 1.0\n", 86400), ("", 0), ("nan 1", 0), ("-5 1", 0)])
def test_uptime_is_whole_seconds(text: str, seconds: int) -> None:
    assert parse_uptime(text) == seconds


@given(st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_text_raises(text: str) -> None:
    parse_boot_time("btime " + text)
    assert parse_uptime(text) >= 0
