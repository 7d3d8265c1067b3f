import json
import subprocess

import psutil  # type: ignore[import-untyped]  # publishes no type information
import pytest

from lattice_agent.facts.addresses import AddressPair
from lattice_agent.facts.interfaces import read_interfaces, read_internal_addresses


def test_the_loopback_interface_is_found_with_its_address() -> None:
    loopback = next(one for one in read_interfaces() if "127.0.0.1" in one.addresses)
    assert loopback.is_up


def test_addresses_agree_with_the_ip_command() -> None:
    try:
        output = subprocess.run(["ip", "-j", "addr"], capture_output=True, timeout=30, check=True).stdout
    except FileNotFoundError:
        pytest.skip("ip(8) is not installed")
    shown = {link["ifname"]: {entry["local"] for entry in link["addr_info"]} for link in json.loads(output)}
    for one in read_interfaces():
        assert {address.partition("%")[0] for address in one.addresses} == shown[one.name]


def test_a_kernel_that_does_not_tell_leaves_both_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied() -> object:
        raise PermissionError

    monkeypatch.setattr(psutil, "net_if_addrs", denied)
    assert read_internal_addresses() == AddressPair()
