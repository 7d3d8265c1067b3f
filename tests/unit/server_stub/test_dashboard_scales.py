"""Axes: their ticks are few, rise, and reach what is drawn."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.dashboard.scales import Axis, byte_axis, decimal_axis, percent_axis, time_ticks

NOW = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)


def names(axis: Axis) -> list[str]:
    return [name for _, name in axis.ticks]


@given(st.floats(0, 2.0**63))
def test_every_axis_holds_what_it_is_made_for(most: float) -> None:
    for axis in (byte_axis(most), decimal_axis(most)):
        values = [value for value, _ in axis.ticks]
        assert values[0] == 0
        assert values == sorted(set(values))
        assert values[-1] == axis.top
        assert most <= axis.top * 1.001
        assert 2 <= len(values) <= 6
        assert len(set(names(axis))) == len(values)


def test_axes_have_round_names() -> None:
    assert names(percent_axis()) == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert names(decimal_axis(1.59)) == ["0", "0.5", "1", "1.5", "2"]
    assert names(byte_axis(8 * 2**30)) == ["0", "2 GiB", "4 GiB", "6 GiB", "8 GiB"]
    assert names(byte_axis(0)) == ["0", "1 B"]
    assert names(byte_axis(2.1 * 2**20, per_second=True)) == ["0", "1 MiB/s", "2 MiB/s", "3 MiB/s"]


@pytest.mark.parametrize(
    ("length", "first", "count"),
    [(timedelta(hours=1), "11:40", 6), (timedelta(hours=24), "16:00", 6), (timedelta(days=7), "23 Feb", 7)],
)
def test_moments_are_round(length: timedelta, first: str, count: int) -> None:
    ticks = time_ticks(NOW - length, NOW)
    assert (ticks[0][1], len(ticks)) == (first, count)
    assert all(NOW - length <= moment <= NOW for moment, _ in ticks)
