"""Parsers and rates of the detailed metrics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.cpu import CpuTimes, parse_cpu_times
from lattice_agent.facts.detail.counters import Counters, DiskCounts, SwapCounts, rate
from lattice_agent.facts.detail.cpu_use import cpu_use, parse_core_times
from lattice_agent.facts.detail.disk_use import disk_uses, parse_diskstats
from lattice_agent.facts.detail.interface_use import interface_uses
from lattice_agent.facts.detail.kernel_tables import parse_file_handles, parse_threads
from lattice_agent.facts.detail.memory_use import memory_use, parse_swap_counts
from lattice_agent.facts.detail.own_cost import parse_pss
from lattice_agent.facts.detail.pressure import parse_pressure, pressures
from lattice_agent.facts.memory import parse_sizes
from lattice_agent.facts.traffic import Traffic
from lattice_agent.wire.base import encode
from lattice_agent.wire.metrics_detail import DiskUse, InterfaceUse, MetricsDetail, Pressure

texts = st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "replace"))
counts = st.integers(0, 2**63 - 1)


def counters(stat: str) -> Counters:
    return Counters(cpu=parse_cpu_times(stat), cores=parse_core_times(stat))


BEFORE = "cpu 100 0 50 800 50 0 0 0 0 0\ncpu0 50 0 25 400 25 0 0 0 0 0\ncpu1 50 0 25 400 25 0 0 0 0 0\nintr 1\n"
AFTER = "cpu 140 10 60 820 60 5 5 10 20 0\ncpu0 75 0 25 400 25 0 0 0 0 0\ncpu1 65 10 35 420 35 5 5 10 0 0\nintr 2\n"


def test_shares_by_use_and_by_cpu() -> None:
    use = cpu_use(counters(BEFORE), counters(AFTER))
    assert use is not None
    assert (use.user, use.system, use.iowait, use.steal) == (45.45, 18.18, 9.09, 9.09)
    assert use.cores == (100.0, 64.71)


def test_a_cpu_that_came_online_counts_as_idle_and_one_that_went_is_left_out() -> None:
    use = cpu_use(counters(BEFORE), counters("cpu 1 0 0 1\ncpu0 9 0 0 9\ncpu2 9 0 0 9\n"))
    assert use is not None
    assert len(use.cores) == 2
    assert use.cores[1] == 0.0


def test_no_time_passed_or_no_source() -> None:
    assert cpu_use(Counters(), Counters()) is None
    use = cpu_use(counters(BEFORE), counters(BEFORE))
    assert use is not None
    assert (use.cores, use.user) == ((0.0, 0.0), None)


DISKSTATS = """\
   8       0 sda 10 1 200 5 20 2 400 9 0 1500 14 0 0 0 0 3 1
   8       1 sda1 9 1 190 5 20 2 400 9 0 1500 14
 259       0 nvme0n1 1 0 8 0 0 0 0 0 0 0 0
 259       1 nvme1n1 x 0 8 0 0 0 0 0 0 0 0
   9       0 md0 1 2 3
"""


def test_drives_are_read_and_partitions_are_not() -> None:
    found = parse_diskstats(DISKSTATS, {"sda", "nvme0n1", "nvme1n1", "md0"})
    assert found == {"sda": DiskCounts(10, 102_400, 20, 204_800, 1500), "nvme0n1": DiskCounts(1, 4096, 0, 0, 0)}


def test_rates_of_a_drive_are_over_the_time_between() -> None:
    before, after = {"sda": DiskCounts(10, 0, 20, 0, 1000)}, {"sda": DiskCounts(30, 2048, 20, 4096, 2500)}
    (use,) = disk_uses(before, after, 2.0)
    assert use == DiskUse(name="sda", read_rate=1024, write_rate=2048, reads_rate=10, writes_rate=0, busy=75.0)
    assert disk_uses({}, after, 2.0) == disk_uses(before, after, None) == (DiskUse(name="sda"),)


def test_a_drive_is_never_more_than_busy() -> None:
    (use,) = disk_uses({"sda": DiskCounts(0, 0, 0, 0, 0)}, {"sda": DiskCounts(0, 0, 0, 0, 10**9)}, 1.0)
    assert use.busy == 100.0


def test_rates_and_errors_of_an_interface() -> None:
    before, after = {"eth0": Traffic(100, 10, 1, 1)}, {"eth0": Traffic(300, 30, 5, 3, 7, 8, 9, 10)}
    (use,) = interface_uses(before, after, 2.0)
    assert (use.rx_rate, use.tx_rate, use.rx_packets_rate, use.tx_packets_rate) == (100, 10, 2, 1)
    assert (use.rx_errors, use.tx_errors, use.rx_dropped, use.tx_dropped) == (7, 8, 9, 10)
    first = InterfaceUse(name="eth0", rx_errors=7, tx_errors=8, rx_dropped=9, tx_dropped=10)
    assert interface_uses({}, after, 2.0) == (first,)


MEMINFO = "MemTotal: 100 kB\nMemFree: 10 kB\nShmem: 3 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\nHugePages_Total: 0\n"


def test_memory_by_use_and_swap_rates() -> None:
    use = memory_use(parse_sizes(MEMINFO), SwapCounts(0, 4096), SwapCounts(8192, 4096), 2.0)
    assert use is not None
    assert (use.free_bytes, use.shared_bytes, use.swap_used_bytes) == (10_240, 3072, 30_720)
    assert (use.swap_in_rate, use.swap_out_rate) == (4096, 0)
    assert use.dirty_bytes is None
    assert memory_use({}, None, None, 2.0) is None
    first = memory_use(parse_sizes(MEMINFO), None, SwapCounts(1, 1), None)
    assert first is not None
    assert first.swap_in_rate is None


def test_swap_counts_are_pages() -> None:
    assert parse_swap_counts("nr_free_pages 1\npswpin 2\npswpout 3\nxpswpin 9\n", 4096) == SwapCounts(8192, 12_288)
    assert parse_swap_counts("nr_free_pages 1\npswpin 2\n", 4096) is None
    assert parse_swap_counts("nr_free_pages 1\npswpin x\npswpout 3\n", 4096) is None


def test_pressure_of_new_and_old_kernels() -> None:
    new = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=3\n"
    assert parse_pressure(new) == Pressure(some_10s=1.5, some_60s=0.25, full_10s=0.5, full_60s=0.0)
    assert parse_pressure(new.partition("\n")[0]) == Pressure(some_10s=1.5, some_60s=0.25)
    assert parse_pressure("") is parse_pressure("some avg10=x") is None
    assert pressures("", "", "") is None
    told = pressures("", new, "")
    assert told is not None
    assert told.cpu is None


@pytest.mark.parametrize(
    ("text", "expected"), [("1344\t0\t9223\n", (1344, 9223)), ("", (None, None)), ("1 2", (None, None))]
)
def test_file_handles(text: str, expected: tuple[int | None, int | None]) -> None:
    assert parse_file_handles(text) == expected


def test_threads_are_behind_the_slash() -> None:
    assert parse_threads("0.1 0.2 0.3 2/345 9999") == 345
    assert parse_threads("0.1 0.2") is parse_threads("0.1 0.2 0.3 2 9") is None


def test_pss_is_in_bytes() -> None:
    assert parse_pss("00400000 rollup\nRss: 9 kB\nPss:  1234 kB\nPss_Anon: 1 kB\n") == 1234 * 1024
    assert parse_pss("") is parse_pss("Pss:\n") is None


@given(texts)
def test_no_parser_raises_on_any_text(text: str) -> None:
    parse_core_times(text)
    parse_core_times("cpu0 " + text)
    parse_diskstats(text, {"sda"})
    parse_swap_counts("\npswpin " + text + "\npswpout " + text, 4096)
    assert encode(
        MetricsDetail(memory=memory_use(parse_sizes(text), None, None, None), pressure=pressures(text, text, text))
    )
    parse_file_handles(text)
    parse_threads(text)
    parse_pss(text)


@given(counts | st.none(), counts | st.none(), st.floats(0.5, 1e6) | st.none(), st.floats(1, 1e12))
def test_a_rate_is_never_negative_and_never_absurd(
    before: int | None, after: int | None, elapsed_s: float | None, fastest: float
) -> None:
    found = rate(before, after, elapsed_s, fastest)
    assert (found is None) == (None in (before, after, elapsed_s))
    assert found is None or 0 <= found <= fastest * 1.000001


cpu_columns = st.lists(st.floats(0, 1e18), min_size=8, max_size=8).map(lambda values: CpuTimes(tuple(values)))
all_counters = st.builds(
    Counters,
    cpu=cpu_columns | st.none(),
    cores=st.dictionaries(st.integers(0, 3), cpu_columns, max_size=4),
    swap=st.builds(SwapCounts, counts, counts) | st.none(),
    disks=st.dictionaries(st.sampled_from(["sda", "sdb"]), st.builds(DiskCounts, *[counts] * 5)),
    traffic=st.dictionaries(st.sampled_from(["eth0", "eth1"]), st.builds(Traffic, *[counts] * 8)),
)


@given(all_counters, all_counters, st.floats(0.5, 1e6))
def test_whatever_the_counters_did_the_message_can_be_sent(before: Counters, after: Counters, elapsed_s: float) -> None:
    detail = MetricsDetail(
        cpu=cpu_use(before, after),
        memory=memory_use(parse_sizes(MEMINFO), before.swap, after.swap, elapsed_s),
        disks=disk_uses(before.disks, after.disks, elapsed_s),
        interfaces=interface_uses(before.traffic, after.traffic, elapsed_s),
    )
    assert encode(detail)
