import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.cpu import (
    CpuTimes,
    Load,
    busy_percent,
    count_cpus,
    parse_cpu_model,
    parse_cpu_times,
    parse_load,
    percent_from_load,
    usable_cpus,
)
from tests.unit.facts.trees import CPUINFO, STAT

columns = st.lists(st.floats(0, 1e18), min_size=8, max_size=8).map(lambda values: CpuTimes(tuple(values)))


def times(**parts: float) -> CpuTimes:
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return CpuTimes(tuple(parts.get(name, 0.0) for name in names))


def test_weak_point_29_guest_time_counts_once() -> None:
    # 50 of the 100 user ticks were a guest's: the kernel lists them in both columns.
    before = parse_cpu_times("cpu 0 0 0 0 0 0 0 0 0 0")
    after = parse_cpu_times("cpu 100 0 0 100 0 0 0 0 50 0")
    assert before is not None
    assert after is not None
    assert busy_percent(before, after) == 50.0


def test_busy_is_all_but_idle_and_iowait() -> None:
    spent = times(user=10, nice=5, system=5, idle=60, iowait=10, irq=4, softirq=3, steal=3)
    assert busy_percent(times(), spent) == 30.0


def test_a_column_that_fell_counts_as_unchanged() -> None:
    assert busy_percent(times(user=10, iowait=50), times(user=20, idle=10, iowait=40)) == 50.0


def test_no_time_passed_is_not_zero_percent() -> None:
    assert busy_percent(times(user=10), times(user=10)) is None
    assert busy_percent(times(user=10, idle=9), times(user=1, idle=2)) is None


@given(columns, columns)
def test_busy_percent_stays_between_0_and_100(before: CpuTimes, after: CpuTimes) -> None:
    percent = busy_percent(before, after)
    assert percent is None or 0 <= percent <= 100


@pytest.mark.parametrize(
    "stat",
    ["", "\n", "cpu", "cpu 1 2 3", "cpu0 1 2 3 4 5", "cpu 1 2 x 4", "cpu 1 -2 3 4", "cpu 1 2 3 99999999999999999999"],
)
def test_a_broken_cpu_line_is_unknown(stat: str) -> None:
    assert parse_cpu_times(stat) is None


def test_an_old_kernel_with_four_columns_is_read() -> None:
    assert parse_cpu_times("cpu 1 2 3 4\n") == times(user=1, nice=2, system=3, idle=4)


@pytest.mark.parametrize(("one", "cores", "percent"), [(0.5, 2, 25.0), (9.0, 2, 100.0), (0.5, 0, 50.0)])
def test_the_first_estimate_is_load_per_core_within_bounds(one: float, cores: int, percent: float) -> None:
    assert percent_from_load(Load(one), cores) == percent


def test_load_is_read_as_a_whole_or_not_at_all() -> None:
    assert parse_load("0.50 0.25 0.10 1/100 4242\n") == Load(0.5, 0.25, 0.1)
    assert parse_load("0.50 nan 0.10") == parse_load("0.5") == parse_load("") == Load()


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        (CPUINFO, "Example CPU @ 2.00GHz"),
        ("processor\t: 0\nBogoMIPS\t: 108.00\nHardware\t: BCM2835\n", "BCM2835"),
        ("Processor\t: ARMv7 Processor rev 4 (v7l)\nprocessor\t: 0\n", "ARMv7 Processor rev 4 (v7l)"),
        ("model name\t:\nmodel name\t: second\n", "second"),
        ("processor\t: 0\n", ""),
        ("model name\t: " + "x" * 500, "x" * 192),
    ],
)
def test_cpu_model_is_the_first_that_has_a_value(cpuinfo: str, model: str) -> None:
    assert parse_cpu_model(cpuinfo) == model


def test_cpus_of_a_recorded_tree_are_those_of_its_stat(tmp_path: Path) -> None:
    assert count_cpus(STAT) == usable_cpus(tmp_path, STAT) == 2
    assert count_cpus("cpu 1\ncpufreq 3\n") == 0


def test_cpus_of_this_machine_are_those_we_may_use() -> None:
    assert usable_cpus(Path("/"), STAT) == len(os.sched_getaffinity(0))


@given(st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_parser_raises(text: str) -> None:
    parse_cpu_times(text)
    parse_cpu_times("cpu " + text)
    parse_load(text)
    parse_cpu_model("model name:" + text)
    count_cpus(text)
