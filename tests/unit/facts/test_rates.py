import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.cpu import CpuTimes, Load
from lattice_agent.facts.rates import FASTEST_LINK, Rates, first_rates, rates_between
from lattice_agent.facts.reading import Reading
from lattice_agent.facts.traffic import Traffic

counts = st.integers(0, 2**63 - 1)
traffic = st.dictionaries(st.sampled_from("abc"), st.builds(Traffic, counts, counts))


def carrying(**links: tuple[int, int]) -> Reading:
    return Reading(traffic={name: Traffic(*values) for name, values in links.items()})


def speeds(before: Reading, after: Reading, elapsed_s: float = 10.0) -> tuple[float, float]:
    rates = rates_between(before, after, elapsed_s, Rates())
    return rates.rx_speed, rates.tx_speed


def test_speed_is_the_difference_over_monotonic_seconds() -> None:
    assert speeds(carrying(eth0=(100, 50)), carrying(eth0=(1100, 150))) == (100.0, 10.0)


def test_a_counter_that_fell_adds_nothing_and_spoils_no_other() -> None:
    assert speeds(carrying(eth0=(2**32 - 1, 0), eth1=(0, 0)), carrying(eth0=(5, 0), eth1=(100, 0))) == (10.0, 0.0)


def test_an_interface_that_came_or_went_adds_nothing() -> None:
    assert speeds(carrying(usb0=(10**12, 0)), carrying(eth0=(10**12, 0))) == (0.0, 0.0)


def test_a_step_no_link_can_make_adds_nothing() -> None:
    assert speeds(carrying(eth0=(0, 0)), carrying(eth0=(2**62, 10))) == (0.0, 1.0)


def test_cpu_repeats_the_last_figure_when_the_source_says_nothing() -> None:
    still = Reading(cpu=CpuTimes((1.0,) * 8))
    assert rates_between(still, still, 1.0, Rates(42.0)).cpu_percent == 42.0
    assert rates_between(still, Reading(), 1.0, Rates(42.0)).cpu_percent == 42.0


def test_the_first_rates_come_from_the_load() -> None:
    assert first_rates(Reading(load=Load(0.5), cores=2)) == Rates(25.0, 0.0, 0.0)


@given(traffic, traffic, st.floats(0.5, 1e6))
def test_speeds_are_never_negative_and_never_absurd(
    before: dict[str, Traffic], after: dict[str, Traffic], elapsed_s: float
) -> None:
    for speed in speeds(Reading(traffic=before), Reading(traffic=after), elapsed_s):
        assert 0 <= speed <= 3 * FASTEST_LINK
        assert math.isfinite(speed)


def test_a_plausible_limit_lets_a_full_fast_card_through() -> None:
    assert speeds(carrying(eth0=(0, 0)), carrying(eth0=(50 * 10**9 * 10, 0)))[0] == pytest.approx(50e9)
