from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.memory import Memory, parse_memory
from tests.unit.facts.trees import MEMINFO


def test_sizes_come_out_in_bytes() -> None:
    memory = parse_memory(MEMINFO)
    assert memory == Memory(total=8 * 2**30, available=6 * 2**30, swap_total=2**20)
    assert memory.used == 2 * 2**30


def test_a_kernel_without_mem_available_gets_the_old_sum() -> None:
    memory = parse_memory("MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 5 kB\nCached: 25 kB\n")
    assert memory.used == 60 * 1024


def test_used_is_never_negative() -> None:
    assert parse_memory("MemTotal: 10 kB\nMemAvailable: 20 kB\n").used == 0


def test_an_absurd_or_broken_size_counts_as_missing() -> None:
    assert parse_memory("MemTotal: 99999999999999999 kB\nSwapTotal: x kB\nMemAvailable:\n") == Memory()


@given(st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_text_raises(text: str) -> None:
    assert parse_memory("MemTotal:" + text).used >= 0
