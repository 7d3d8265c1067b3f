from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.tree_links import inside, target_inside, text_inside
from tests.unit.facts.trees import write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A record with a secret beside it that no link may lead to."""
    write_tree(tmp_path, {"secret": "outside", "tree/real/file": "within", "tree/real/deep/": ""})
    return tmp_path / "tree"


@pytest.mark.parametrize(
    ("link", "target", "path", "found"),
    [
        ("link", "real", "link/file", "real/file"),
        ("link", "/real", "link/file", "real/file"),
        ("link", "./real//", "link/file", "real/file"),
        ("link", "../../../real", "link/file", "real/file"),
        ("real/deep/up", "../file", "real/deep/up", "real/file"),
        ("real/deep/up", "/real/deep/../file", "real/deep/up", "real/file"),
        ("link", "missing", "link/file", "missing/file"),
        ("link", "../secret", "link", "secret"),
    ],
)
def test_links_are_followed_below_the_root(tree: Path, link: str, target: str, path: str, found: str) -> None:
    (tree / link).symlink_to(target)
    assert inside(tree, path) == found


@pytest.mark.parametrize("target", ["../secret", "../../../../../../../../etc/hostname", "/proc/self/status"])
def test_no_link_leads_out_of_the_tree(tree: Path, target: str) -> None:
    (tree / "link").symlink_to(target)
    assert text_inside(tree, "link") == ""


def test_a_link_to_a_link_is_followed(tree: Path) -> None:
    (tree / "a").symlink_to("/b")
    (tree / "b").symlink_to("real")
    assert text_inside(tree, "a/file") == "within"


def test_links_in_a_circle_lead_nowhere(tree: Path) -> None:
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a/file")
    assert text_inside(tree, "a") == ""
    assert not (tree / inside(tree, "a")).parent.joinpath("file").exists()


def test_a_link_is_read_in_a_folder_behind_a_link(tree: Path) -> None:
    (tree / "link").symlink_to("/real")
    (tree / "real/driver").symlink_to("/bus/drivers/ahci")
    assert target_inside(tree, "link/driver") == "/bus/drivers/ahci"


def test_on_the_live_host_the_kernel_follows_links() -> None:
    assert inside(Path("/"), "proc/self/mountinfo") == "proc/self/mountinfo"


@given(st.text(st.sampled_from("./ab\0"), max_size=20))
def test_no_path_raises(path: str) -> None:
    inside(Path("/nowhere"), path)
    target_inside(Path("/nowhere"), path)
