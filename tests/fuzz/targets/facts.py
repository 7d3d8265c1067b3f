"""What a kernel, a firmware, a hypervisor or a script says of a host: every parser of text and of dumps alone."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final

import httpcore
import httpx
import trio
from pydantic import BaseModel

from lattice_agent.facts import (
    address_plan,
    addresses,
    cgroup_place,
    cpu,
    cpu_identity,
    cpu_topology,
    lexical,
    memory,
    package_lists,
    resolver,
    system,
    traffic,
    uptime,
    virtualization,
    wireguard,
)
from lattice_agent.facts.detail import cpu_use, disk_use, kernel_tables, memory_use, own_cost, pressure
from lattice_agent.facts.inventory import (
    accelerators,
    cgroup,
    clock,
    container,
    container_mounts,
    disks,
    drive_identity,
    drive_paths,
    firmware_hypervisor,
    hardware,
    hypervisor,
    interface_addresses,
    interfaces,
    link_dump,
    monitor,
    mountinfo,
    pci_ids,
    permanent_address,
    recorded_addresses,
    smbios,
    udev_data,
)
from lattice_agent.facts.inventory import memory as inventory_memory
from server_stub.errors import Refused
from server_stub.rules import addresses as server_addresses
from tests.fuzz.form import chosen, headed, text
from tests.fuzz.target import Target

Parser = Callable[[str], object]
_LARGEST: Final = 2**64
_ADDRESSES: Final = (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface, IPv4Network, IPv6Network)
_SDA: Final = frozenset({"sda", "nvme0n1", "vda"})
_WANTED: Final = frozenset({("10de", "1db4"), ("1002", "73bf")})


def _halves(parse: Callable[[str, str], object]) -> Parser:
    """Two texts with a form feed between them."""
    return lambda given: parse(*given.partition("\f")[::2])


PARSERS: Final[Mapping[str, Parser]] = {
    "cgroup membership": cgroup_place.parse_membership,
    "cgroup mounts": cgroup_place.parse_cgroup_mounts,
    "cgroup limit": cgroup.parse_limit,
    "cgroup cpu.max": cgroup.parse_cpu_max,
    "cgroup memory.stat": cgroup.parse_hierarchical_limit,
    "cgroup of a container": container.parse_cgroup,
    "cgroup of process 1": virtualization.parse_cgroup_container,
    "clock zone link": clock.parse_zone_link,
    "clock zone file": clock.parse_zone_file,
    "compatible": firmware_hypervisor.parse_compatible,
    "compatible board": firmware_hypervisor.parse_board,
    "cpu list": cpu_topology.parse_cpu_list,
    "cpuinfo flags": cpu_identity.parse_flags,
    "cpuinfo model": cpu_identity.parse_model,
    "cpuinfo name": cpu.parse_cpu_model,
    "cpuinfo topology": cpu_topology.parse_cpuinfo_topology,
    "cpuinfo uml": hypervisor.parse_uml,
    "cpuinfo vendor": cpu_identity.parse_vendor,
    "diskstats": lambda given: disk_use.parse_diskstats(given, _SDA),
    "diskstats names": disk_use.listed_devices,
    "dom0": _halves(hypervisor.is_dom0),
    "drive flag": disks.parse_flag,
    "drive path": drive_paths.parse_transport,
    "drive size": disks.parse_size,
    "environment": container.parse_environment,
    "fib_trie and route": _halves(recorded_addresses.parse_local_ipv4),
    "file-nr": kernel_tables.parse_file_handles,
    "firmware name": hardware.parse_name,
    "gpu information": accelerators.parse_nvidia_model,
    "if_inet6": recorded_addresses.parse_if_inet6,
    "interface address": _halves(interface_addresses.with_prefix),
    "link speed": interfaces.parse_speed,
    "loadavg": cpu.parse_load,
    "loadavg threads": kernel_tables.parse_threads,
    "mac": permanent_address.parse_mac,
    "meminfo": memory.parse_memory,
    "meminfo sizes": inventory_memory.parse_memory_size,
    "mountinfo": mountinfo.parse_mountinfo,
    "mountinfo of a container": container_mounts.parse_mounts,
    "mountinfo word": mountinfo.unescape,
    "net/dev": traffic.parse_net_dev,
    "oem id": monitor.parse_oem_id,
    "os-release": system.parse_os_release,
    "pci class": accelerators.parse_kind,
    "pci id": accelerators.parse_id,
    "pci.ids": lambda given: pci_ids.parse_names(given.split("\n"), _WANTED),
    "pressure": pressure.parse_pressure,
    "smaps": own_cost.parse_pss,
    "stat boot time": uptime.parse_boot_time,
    "stat cores": cpu_use.parse_core_times,
    "stat times": cpu.parse_cpu_times,
    "stat cpus": cpu.count_cpus,
    "status": cgroup.count_allowed_cpus,
    "sysinfo": firmware_hypervisor.parse_sysinfo,
    "udev": udev_data.parse_properties,
    "udev value": udev_data.unescape,
    "uptime": uptime.parse_uptime,
    "vmstat": lambda given: memory_use.parse_swap_counts(given, 4096),
    "vpd serial": drive_identity.parse_vpd_serial,
    "dpkg": lambda given: [package_lists.is_dpkg_installed(line.encode()) for line in given.splitlines()],
    "apk": lambda given: [package_lists.is_apk_package(line.encode()) for line in given.splitlines()],
    "decimal": lexical.parse_decimal,
    "count": lexical.parse_count,
    "clean": lambda given: lexical.clean_text(given, 64),
}


def _text(data: bytes) -> None:
    parse, rest = chosen(PARSERS, data)
    given = text(rest)
    found = parse(given)
    check_value(found, most=len(given) + 4_096)


def check_value(value: Any, most: int) -> None:
    """Whatever was read is of a bounded size, and of numbers and texts that a message can carry."""
    waiting, seen = [value], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        assert seen <= 16 * most, "more was read than there was"
        if isinstance(item, str):
            assert len(item) <= most
            item.encode()
        elif isinstance(item, float):
            assert abs(item) < 1e30  # neither NaN nor Infinity
        elif isinstance(item, int):
            assert -_LARGEST < item < _LARGEST
        else:
            waiting += _parts(item)


def _parts(item: Any) -> Iterable[Any]:
    if is_dataclass(item):
        return [getattr(item, field.name) for field in fields(item)]
    if isinstance(item, BaseModel):
        return list(vars(item).values())
    if isinstance(item, Mapping):
        return [*item.keys(), *item.values()]
    if item is None or isinstance(item, (bytes, Enum, *_ADDRESSES)) or hasattr(item, "tzinfo"):
        return ()
    return list(item)


def _dump(data: bytes) -> None:
    found, _ = link_dump.parse_reply(data)
    assert sum(map(len, found)) <= 2 * len(data) + 64
    assert len(found) <= len(data) // 16


def _firmware(data: bytes) -> None:
    smbios.parse_bios_entry(data)
    address = permanent_address.parse_answer(data)
    assert permanent_address.parse_mac(address) == address
    if len(data) > 1:
        clock.parse_timex(data[0] - 1, data[1:])


def _public(data: bytes) -> None:
    """What the agent takes for a public address the server takes as well."""
    given = text(data)
    nothing = server_addresses.Addresses()
    for problem, reported in (
        (addresses.public_address_problem(given, 4), replace(nothing, public_ip=given)),
        (addresses.public_address_problem(given, 6), replace(nothing, public_ipv6=given)),
    ):
        try:
            server_addresses.merge(nothing, reported, "", hello=False)
        except Refused:
            assert problem, "the server would refuse the whole call"
    for found in (addresses.first_public_pair(given), addresses.public_address_in_body(given, 4)):
        check_value(found, most=len(given) + 64)


def _wireguard(data: bytes) -> None:
    lines = [*text(data).split("\n"), "", "", "", ""]
    port = int(lines[3]) if lines[3].isascii() and lines[3].isdigit() and len(lines[3]) < 9 else 0
    kept = wireguard.checked_wireguard(ip=lines[0], public_key=lines[1], endpoint=lines[2], port=port)
    reported = server_addresses.Addresses(
        wireguard_ip=kept.ip,
        wireguard_public_key=kept.public_key,
        wireguard_endpoint=kept.endpoint,
        wireguard_port=kept.port,
    )
    server_addresses.merge(server_addresses.Addresses(), reported, "", hello=True)


def _resolver(data: bytes) -> None:
    head, rest = headed(data)
    plan = address_plan.plan_addresses(address_plan.AddressFlags(mode="resolver", resolvers=(head,)), None)

    async def main() -> resolver.Found:
        async with _client(rest) as first, _client(rest) as second:
            return await resolver.find_public_addresses(plan, first, second)

    found = trio.run(main)
    assert not found.addresses.v4 or not addresses.public_address_problem(found.addresses.v4, 4)
    assert not found.addresses.v6 or not addresses.public_address_problem(found.addresses.v6, 6)


_CONTEXT: Final = httpx.create_ssl_context(verify=False)


def _client(answer: bytes) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(verify=_CONTEXT, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(network_backend=httpcore.AsyncMockBackend([answer]))
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)


TARGETS: Final = (
    Target(
        "facts.text",
        (
            *(f"lattice_agent.facts.{name}" for name in ("cgroup_place", "cpu", "cpu_identity", "cpu_topology",
              "lexical", "memory", "package_lists", "system", "traffic", "uptime", "virtualization")),
            *(f"lattice_agent.facts.detail.{name}" for name in ("cpu_use", "disk_use", "kernel_tables", "memory_use",
              "own_cost", "pressure")),
            *(f"lattice_agent.facts.inventory.{name}" for name in ("accelerators", "cgroup", "clock", "container",
              "container_mounts", "disks", "drive_identity", "drive_paths", "firmware_hypervisor", "hardware",
              "hypervisor", "interface_addresses", "interfaces", "memory", "monitor", "mountinfo", "pci_ids",
              "permanent_address", "recorded_addresses", "udev_data")),
        ),
        _text,
        (),
        "never an exception; numbers below 2^64, texts and lists no longer than what was read",
        words=tuple(PARSERS),
    ),
    Target("facts.link_dump", ("lattice_agent.facts.inventory.link_dump",), _dump, (),
           "no more is kept than the kernel sent"),
    Target("facts.firmware", ("lattice_agent.facts.inventory.smbios", "lattice_agent.facts.inventory.permanent_address",
                              "lattice_agent.facts.inventory.clock"), _firmware, (),
           "an address is written as it is read", longest=1_024),
    Target("facts.public_address", ("lattice_agent.facts.addresses", "server_stub.rules.addresses"), _public, (),
           "the server takes what the agent takes", longest=4_096),
    Target("facts.wireguard", ("lattice_agent.facts.wireguard", "server_stub.rules.addresses"), _wireguard, (),
           "the server takes what the agent kept", longest=2_048),
    Target("facts.resolver", ("lattice_agent.facts.resolver", "lattice_agent.facts.address_plan"), _resolver, (),
           "raises nothing; only public addresses come out"),
)  # fmt: skip
