import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.lexical import COUNTER_LIMIT
from lattice_agent.facts.rooted import read_text
from lattice_agent.facts.traffic import (
    Link,
    Selection,
    Traffic,
    counted_links,
    counted_traffic,
    is_virtual_name,
    parse_net_dev,
    total,
)
from tests.unit.facts.trees import net_dev, write_tree

names = st.text("abcdeth0123*?[]-.", min_size=1, max_size=6)
selections = st.builds(Selection, st.lists(names, max_size=3).map(tuple), st.lists(names, max_size=3).map(tuple))


def counted_bytes(root: Path, selection: Selection = Selection()) -> dict[str, tuple[int, int]]:  # noqa: B008 - frozen
    counted = counted_traffic(root, read_text(root, "proc/net/dev"), selection)
    return {name: (one.rx, one.tx) for name, one in counted.items()}


def test_every_column_is_read_by_interface() -> None:
    line = "eth0: 1 2 3 4 91 92 93 94 5 6 7 8 95 96 97 98"
    assert parse_net_dev(line) == {"eth0": Traffic(1, 5, 2, 6, 3, 7, 4, 8)}
    assert parse_net_dev(net_dev(lo=(1, 2), eth0=(3, 4))).keys() == {"lo", "eth0"}


def test_a_lesser_column_that_is_broken_counts_as_0() -> None:
    assert parse_net_dev("eth0: 1 x 3 x 0 0 0 0 5 x 7 8 0 0 0 0") == {"eth0": Traffic(1, 5, 0, 0, 3, 7, 0, 8)}


def test_a_counter_may_touch_the_colon() -> None:
    assert parse_net_dev("eth0:123 0 0 0 0 0 0 0 45 0 0 0 0 0 0 0") == {"eth0": Traffic(123, 45)}


@pytest.mark.parametrize(
    "line",
    ["eth0: 1 2 3", "eth0: x 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0", "..: " + "1 " * 16, "a/b: " + "1 " * 16, ": " + "1 " * 16],
)
def test_an_incomplete_or_hostile_line_is_left_out(line: str) -> None:
    assert parse_net_dev(line) == {}


def test_weak_point_29_only_links_with_a_device_count(tmp_path: Path) -> None:
    names = ("eth0", "wlan0", "lo", "docker0", "veth12", "br-4", "tun0", "wg0", "cni0", "vlan7")
    files = {f"sys/class/net/{name}/": "" for name in names}
    files |= {"sys/class/net/eth0/device/": "", "sys/class/net/wlan0/device/": ""}
    root = write_tree(tmp_path, {**files, "proc/net/dev": net_dev(**dict.fromkeys(names, (10, 1)))})
    assert counted_bytes(root) == {"eth0": (10, 1), "wlan0": (10, 1)}


def test_a_bond_counts_instead_of_its_members(tmp_path: Path) -> None:
    files = {f"sys/class/net/{name}/device/": "" for name in ("eno1", "eno2", "eno3")}
    files |= {f"sys/class/net/{name}/bonding_slave/": "" for name in ("eno1", "eno2")}
    files |= {"sys/class/net/bond0/bonding/": ""}
    counters = net_dev(eno1=(10, 1), eno2=(10, 1), eno3=(5, 1), bond0=(20, 2))
    root = write_tree(tmp_path, {**files, "proc/net/dev": counters})
    assert counted_bytes(root) == {"eno3": (5, 1), "bond0": (20, 2)}


def test_a_card_in_a_bridge_counts_and_a_function_under_its_synthetic_card_does_not(tmp_path: Path) -> None:
    files = {f"sys/class/net/{name}/device/": "" for name in ("eth0", "enP1", "eno1")}
    root = write_tree(tmp_path, {**files, "proc/net/dev": net_dev(eth0=(9, 9), enP1=(9, 9), eno1=(4, 4), vmbr0=(4, 4))})
    os.symlink("../eth0", root / "sys/class/net/enP1/master")
    os.symlink("../vmbr0", root / "sys/class/net/eno1/master")
    assert counted_bytes(root).keys() == {"eth0", "eno1"}


LINKS = (Link("eth0", has_device=True), Link("eth1", has_device=True), Link("docker0"), Link("wg0"), Link("lo"))


@pytest.mark.parametrize(
    ("include", "exclude", "counted"),
    [
        ((), (), {"eth0", "eth1"}),
        (("wg0",), (), {"wg0"}),
        (("eth*", "lo"), ("eth1",), {"eth0", "lo"}),
        ((), ("eth0",), {"eth1"}),
        (("eth0",), ("eth0",), set()),
        (("ETH0",), (), set()),
        (("gone0",), (), set()),
        ((), ("*",), set()),
    ],
)
def test_the_owner_s_selection_wins_over_the_rule(
    include: tuple[str, ...], exclude: tuple[str, ...], counted: set[str]
) -> None:
    assert counted_links(LINKS, Selection(include, exclude)) == counted


def test_a_member_of_a_bond_counts_when_it_is_named() -> None:
    links = (Link("bond0", is_bond=True), Link("eno1", has_device=True, is_bond_member=True, master="bond0"))
    assert counted_links(links) == {"bond0"}
    assert counted_links(links, Selection(include=("eno1",))) == {"eno1"}
    assert counted_links(links, Selection(exclude=("bond0",))) == set()  # its members do not come back


@given(st.lists(names, max_size=5, unique=True), selections)
def test_selection_is_exact(known: list[str], selection: Selection) -> None:
    links = [Link(name, has_device=name.startswith("e")) for name in known]
    counted = counted_links(links, selection)
    assert counted <= set(known)
    automatic = counted_links(links)
    for name in known:
        included = any(fnmatchcase(name, pattern) for pattern in selection.include)
        excluded = any(fnmatchcase(name, pattern) for pattern in selection.exclude)
        wanted = included if selection.include else name in automatic
        assert (name in counted) == (wanted and not excluded)


def test_in_a_container_the_end_of_a_veth_counts() -> None:
    assert counted_links(map(Link, ("lo", "eth0", "tun0", "docker0"))) == {"eth0"}


@pytest.mark.parametrize(
    "name", ["lo", "docker0", "vethab", "br-1f", "wg0", "tun3", "tailscale0", "cni0", "ifb1", "Docker1"]
)
def test_virtual_names(name: str) -> None:
    assert is_virtual_name(name)


@pytest.mark.parametrize("name", ["eth0", "enp3s0", "venet0", "wlan0", "bnep0"])
def test_names_of_wires(name: str) -> None:
    assert not is_virtual_name(name)


def test_the_total_stays_within_the_wires_range() -> None:
    huge = Traffic(COUNTER_LIMIT, 1)
    assert total({"a": huge, "b": huge, "c": huge}) == Traffic(COUNTER_LIMIT, 3)


@given(st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_text_raises(text: str) -> None:
    parse_net_dev(text)
    parse_net_dev("eth0:" + text)
