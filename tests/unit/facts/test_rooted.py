import os
from pathlib import Path

import trio

from lattice_agent.facts.rooted import exists, is_live, read_text


def test_read_text_gives_the_content_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/uptime").write_text("12.5 3\n")
    assert read_text(tmp_path, "proc/uptime") == "12.5 3\n"


def test_read_text_stops_at_its_limit(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"a" * 200_000)
    assert read_text(tmp_path, "long", limit=100_001) == "a" * 100_001


def test_what_is_no_readable_file_reads_as_empty(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert read_text(tmp_path, "missing") == ""
    assert read_text(tmp_path, "folder") == ""
    assert read_text(tmp_path, "nul\0byte") == ""
    assert read_text(Path("/"), "proc/self/mem") == ""  # opens, and fails at the first read


def test_bytes_that_are_not_utf_8_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"a\xffb")
    assert read_text(tmp_path, "broken") == "a\ufffdb"


async def test_a_fifo_without_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with trio.fail_after(5):
        assert await trio.to_thread.run_sync(read_text, tmp_path, "fifo", abandon_on_cancel=True) == ""


def test_exists_counts_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "device").symlink_to("nowhere")
    assert exists(tmp_path, "device")
    assert not exists(tmp_path, "other")


def test_only_the_real_root_is_live(tmp_path: Path) -> None:
    assert is_live(Path("/"))
    assert not is_live(tmp_path)
