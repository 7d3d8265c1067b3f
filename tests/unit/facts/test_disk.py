import os
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no type information
import pytest

from lattice_agent.facts.disk import Disk, read_disk
from lattice_agent.facts.lexical import COUNTER_LIMIT


def test_a_missing_root_is_unknown(tmp_path: Path) -> None:
    assert read_disk(tmp_path / "missing") == Disk()


def test_total_is_the_file_systems_and_the_reserve_counts_as_used() -> None:
    disk, usage = read_disk(Path("/")), psutil.disk_usage("/")
    assert disk.total == usage.total
    assert disk.used == pytest.approx(usage.total - usage.free, abs=512 * 2**20)  # others write meanwhile


def test_a_file_system_that_lies_stays_within_the_wires_range(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = os.statvfs_result((2**20, 2**20, 2**60, 0, 2**60, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: answer)
    assert read_disk(Path("/")) == Disk(0, COUNTER_LIMIT)
