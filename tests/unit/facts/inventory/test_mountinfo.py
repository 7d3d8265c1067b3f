import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.mountinfo import Mount, parse_mountinfo, reachable, unescape

LINE = "36 35 98:0 /sub /mnt/a rw,noatime master:1 propagate_from:2 - ext3 /dev/sda1 rw,errors=continue"


def table(*rows: tuple[str, str, str]) -> tuple[Mount, ...]:
    """Mounts out of id, parent's id and mount point."""
    return parse_mountinfo(
        "".join(f"{id_} {parent} 8:1 / {point} rw - ext4 /dev/a rw\n" for id_, parent, point in rows)
    )


def test_a_line_has_optional_fields_in_the_middle() -> None:
    mount = Mount("36", "35", "98:0", "/sub", "/mnt/a", read_only=False, type="ext3", source="/dev/sda1")
    assert parse_mountinfo(LINE) == (mount,)
    assert parse_mountinfo(LINE.replace(" master:1 propagate_from:2", "") + "\n\n") == (mount,)


@pytest.mark.parametrize(
    ("mount", "file_system", "read_only"),
    [
        ("rw,relatime", "rw", False),
        ("ro,relatime", "rw", True),
        ("ro", "ro", True),
        ("rw", "ro,errors=remount-ro", True),
        ("rw,nosuid", "rw,errors=remount-ro", False),
        ("rw", "rw,ro", False),
    ],
)
def test_read_only_is_the_mount_or_the_file_system(mount: str, file_system: str, read_only: bool) -> None:
    (found,) = parse_mountinfo(f"1 0 8:1 / / {mount} - ext4 /dev/sda1 {file_system}")
    assert found.read_only is read_only


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"/my\040disk", "/my disk"),
        (r"/tab\011line\012back\134hash\043", "/tab\tline\nback\\hash#"),
        (r"/literal\134040", r"/literal\040"),
        (r"/end\04", r"/end\04"),
        (r"/no\800\400", r"/no\800\400"),
        ("/plain", "/plain"),
    ],
)
def test_escapes(written: str, text: str) -> None:
    assert unescape(written) == text


def test_every_text_is_unescaped() -> None:
    (mount,) = parse_mountinfo(r"1 0 0:9 /a\040b /c\040d rw - my\040fs pool/data\040set rw")
    assert (mount.root, mount.point, mount.type, mount.source) == ("/a b", "/c d", "my fs", "pool/data set")


def test_a_source_may_be_empty_and_a_mount_point_a_dash() -> None:
    (mount,) = parse_mountinfo("1 0 0:9 / - rw - tmpfs  rw")
    assert (mount.point, mount.type, mount.source) == ("-", "tmpfs", "")


@pytest.mark.parametrize("character", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_a_line_feed_ends_a_line(character: str) -> None:
    (mount,) = parse_mountinfo(f"1 0 8:1 / /a{character}b rw - ext4 /dev/sda1 rw\n")
    assert mount.point == f"/a{character}b"


@pytest.mark.parametrize("length", range(len(LINE) - len(" rw,errors=continue") + 1))
def test_a_line_that_was_cut_is_left_out(length: int) -> None:
    assert parse_mountinfo(LINE[:length]) == ()


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        pytest.param([("1", "0", "/"), ("2", "1", "/a"), ("3", "2", "/a/b")], "1 2 3", id="side by side"),
        pytest.param([("1", "1", "/"), ("2", "1", "/")], "2", id="the root over the initial one"),
        pytest.param([("1", "0", "/"), ("2", "1", "/a"), ("3", "2", "/a")], "1 3", id="one over another"),
        pytest.param([("1", "0", "/"), ("2", "1", "/a"), ("3", "2", "/a"), ("4", "3", "/a")], "1 4", id="three"),
        pytest.param([("1", "0", "/"), ("2", "1", "/a/b"), ("3", "1", "/a")], "1 3", id="below a later one"),
        pytest.param([("1", "0", "/"), ("2", "1", "/a"), ("3", "1", "/ab")], "1 2 3", id="a name that begins alike"),
        pytest.param([("2", "7", "/a"), ("3", "7", "/b"), ("4", "3", "/b/c")], "2 3 4", id="no root (chroot)"),
        pytest.param([("4", "3", "/b/c"), ("3", "1", "/b"), ("1", "0", "/")], "4 3 1", id="any order"),
        pytest.param([("1", "2", "/"), ("2", "1", "/")], "", id="in circles"),
        pytest.param([("1", "0", "/"), ("2", "1", "/a"), ("3", "2", "/")], "1 2", id="outside of its parent"),
    ],
)
def test_what_a_mount_point_leads_to(rows: list[tuple[str, str, str]], ids: str) -> None:
    mounts = table(*rows)
    assert [mount.id for mount in reachable(mounts, mounts)] == ids.split()


def test_only_the_mounts_asked_for_are_told() -> None:
    mounts = table(("1", "0", "/"), ("2", "1", "/a"), ("3", "2", "/a"))
    assert [mount.id for mount in reachable(mounts[1:], mounts)] == ["3"]


FIELDS = st.text(st.sampled_from("012/ab-:\\ "), max_size=6)


@given(st.text(), st.lists(st.tuples(FIELDS, FIELDS, FIELDS), max_size=8))
def test_no_text_raises(text: str, rows: list[tuple[str, str, str]]) -> None:
    parse_mountinfo(text)
    mounts = (*parse_mountinfo(f"1 0 8:1 {text} - {text} rw"), *table(*rows))
    assert set(reachable(mounts, mounts)) <= set(mounts)
