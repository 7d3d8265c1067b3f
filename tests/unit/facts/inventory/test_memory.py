from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.memory import fingerprint, parse_memory_size, read
from lattice_agent.wire.host_inventory import MemorySize
from tests.unit.facts.trees import MEMINFO, write_tree


@pytest.mark.parametrize(
    ("meminfo", "total", "swap"),
    [
        (MEMINFO, 8 * 2**30, 2**20),
        ("MemTotal: 4 kB\nSwapTotal:       0 kB\n", 4096, 0),
        ("MemTotal: 4 kB\nSwapTotal: 0", 4096, 0),
        ("MemTotal: 4 kB\nSwapFree: 0 kB\n", 4096, None),
        ("MemTotal: 4 kB\nSwapTotal: 0x kB\n", 4096, None),
        ("MemTotal: 4 kB\nSwapTotal: -1 kB\n", 4096, None),
        ("MemTotal: 4 kB\nSwapTotal:\n0 kB\n", 4096, None),
        ("MemTotal: 0 kB\nSwapTotal: 8 kB\n", None, 8192),
        ("MemTotal: 99999999999999999 kB\n", None, None),
        ("", None, None),
    ],
)
def test_what_is_not_said_is_not_zero(meminfo: str, total: int | None, swap: int | None) -> None:
    assert parse_memory_size(meminfo) == MemorySize(total_bytes=total, swap_total_bytes=swap)


def test_a_host_without_meminfo_is_a_gap(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match="/proc/meminfo"):
        read(tmp_path)


def test_a_host_is_read_from_its_own_meminfo(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, {"proc/meminfo": MEMINFO})).total_bytes == 8 * 2**30


def test_the_fingerprint_follows_both_sizes_and_nothing_else(tmp_path: Path) -> None:
    def of(total: int, free: int, swap: int) -> object:
        text = f"MemTotal: {total} kB\nMemFree: {free} kB\nSwapTotal: {swap} kB\n"
        return fingerprint(write_tree(tmp_path, {"proc/meminfo": text}))

    assert of(9, 1, 5) == of(9, 2, 5)
    assert len({of(9, 1, 5), of(8, 1, 5), of(9, 1, 0)}) == 3


def test_this_machine_has_memory() -> None:
    assert (read(Path("/")).total_bytes or 0) > 2**20


@given(st.text(), st.text())
def test_no_text_raises(one: str, other: str) -> None:
    parse_memory_size(one)
    parse_memory_size(f"MemTotal:{one}\nSwapTotal:{other}")
