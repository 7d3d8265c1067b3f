import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.lexical import COUNTER_LIMIT
from lattice_agent.facts.traffic import (
    Link,
    Traffic,
    counted_links,
    is_virtual_name,
    parse_net_dev,
    read_traffic,
    total,
)
from tests.unit.facts.trees import net_dev, write_tree


def test_counters_are_read_by_interface() -> None:
    assert parse_net_dev(net_dev(lo=(1, 2), eth0=(3, 4))) == {"lo": Traffic(1, 2), "eth0": Traffic(3, 4)}


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
    assert read_traffic(root) == {"eth0": Traffic(10, 1), "wlan0": Traffic(10, 1)}


def test_a_bond_counts_instead_of_its_members(tmp_path: Path) -> None:
    files = {f"sys/class/net/{name}/device/": "" for name in ("eno1", "eno2", "eno3")}
    files |= {f"sys/class/net/{name}/bonding_slave/": "" for name in ("eno1", "eno2")}
    files |= {"sys/class/net/bond0/bonding/": ""}
    counters = net_dev(eno1=(10, 1), eno2=(10, 1), eno3=(5, 1), bond0=(20, 2))
    root = write_tree(tmp_path, {**files, "proc/net/dev": counters})
    assert read_traffic(root) == {"eno3": Traffic(5, 1), "bond0": Traffic(20, 2)}


def test_a_card_in_a_bridge_counts_and_a_function_under_its_synthetic_card_does_not(tmp_path: Path) -> None:
    files = {f"sys/class/net/{name}/device/": "" for name in ("eth0", "enP1", "eno1")}
    root = write_tree(tmp_path, {**files, "proc/net/dev": net_dev(eth0=(9, 9), enP1=(9, 9), eno1=(4, 4), vmbr0=(4, 4))})
    os.symlink("../eth0", root / "sys/class/net/enP1/master")
    os.symlink("../vmbr0", root / "sys/class/net/eno1/master")
    assert read_traffic(root).keys() == {"eth0", "eno1"}


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
