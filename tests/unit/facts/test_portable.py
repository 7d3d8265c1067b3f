"""The path without /proc, run here through psutil on the machine the tests run on."""

from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no type information
import pytest

from lattice_agent.facts import portable
from lattice_agent.facts.cpu import Load
from lattice_agent.facts.disk import Disk
from lattice_agent.facts.look import Look
from lattice_agent.facts.memory import Memory
from lattice_agent.facts.reading import needs_portable, take_reading
from lattice_agent.facts.uptime import parse_boot_time

DISK = Disk(1, 2)


def test_both_paths_agree_on_this_machine() -> None:
    ours, theirs = take_reading(Look(Path("/")), DISK), portable.portable_reading(DISK)
    assert theirs.memory.total == ours.memory.total
    assert theirs.memory.swap_total == ours.memory.swap_total
    assert theirs.disk == ours.disk == DISK
    assert theirs.uptime_s == pytest.approx(ours.uptime_s, abs=3)
    assert ours.traffic.keys() <= theirs.traffic.keys()
    assert theirs.cpu is not None
    assert len(theirs.cpu.columns) == 8


def test_boot_time_is_the_same_on_both_paths() -> None:
    assert portable.portable_boot_time() == parse_boot_time(Path("/proc/stat").read_text())


def test_a_figure_that_the_system_lacks_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*args: object, **kwargs: object) -> object:
        raise psutil.AccessDenied

    for name in ("cpu_times", "virtual_memory", "net_io_counters", "boot_time"):
        monkeypatch.setattr(psutil, name, lacking)
    monkeypatch.delattr("os.getloadavg")
    reading = portable.portable_reading(DISK)
    assert (reading.cpu, reading.load, reading.memory, reading.traffic) == (None, Load(), Memory(), {})
    assert reading.uptime_s == 0
    assert portable.portable_boot_time() is None


def test_a_recorded_tree_never_asks_this_machine(tmp_path: Path) -> None:
    assert not needs_portable(tmp_path)
    assert take_reading(Look(tmp_path), DISK).memory == Memory()
