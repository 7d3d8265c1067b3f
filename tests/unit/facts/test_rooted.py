import os
from pathlib import Path

import pytest
import trio

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.rooted import exists, is_live, link_target, names_in, read_text, required_text


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


def test_what_is_required_and_missing_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for path, reason in (
        ("missing", "/missing: No such file or directory"),
        ("empty", "/empty: empty"),
        ("folder", "/folder: no regular file"),
        ("loop", "/loop: Too many levels of symbolic links"),
    ):
        with pytest.raises(FactsError) as caught:
            required_text(tmp_path, path)
        assert str(caught.value) == reason


def test_names_are_sorted_and_a_directory_that_is_none_has_none(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    (tmp_path / os.fsdecode(b"bad\xff")).touch()
    assert names_in(tmp_path, "") == ["a", "b", "c"]
    assert names_in(tmp_path, "a") == names_in(tmp_path, "missing") == []


@pytest.mark.parametrize(
    "target",
    ["/etc/true", "../etc/true", "../../../../../etc/true", "/../etc/true", "/a/link/../../etc/./true", "/abs/true"],
)
def test_links_of_a_recorded_host_stay_in_it(tmp_path: Path, target: str) -> None:
    for place in ("etc", "a", "var"):
        (tmp_path / place).mkdir()
    (tmp_path / "etc/true").write_text("of the tree")
    (tmp_path / "a/link").symlink_to("/a")
    (tmp_path / "abs").symlink_to("/etc")
    (tmp_path / "var/source").symlink_to(target)
    assert read_text(tmp_path, "var/source") == "of the tree"
    assert read_text(tmp_path, "abs/../etc/true") == "of the tree"
    assert link_target(tmp_path, "var/source") == target
    assert exists(tmp_path, "abs/true")
    assert names_in(tmp_path, "abs") == ["true"]


def test_a_link_out_of_a_recorded_host_finds_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("of this machine")
    root = tmp_path / "host"
    root.mkdir()
    for number, target in enumerate((str(outside), "../outside", "/../outside")):
        (root / f"link{number}").symlink_to(target)
        assert read_text(root, f"link{number}") == ""
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    assert read_text(root, "one/x") == link_target(root, "one/x") == ""
    assert not exists(root, "one/x")
