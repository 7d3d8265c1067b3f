"""Facts of this machine beside what independent tools say of it. Where they differ, docs/facts.md says why."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # publishes no type information
import pytest

from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.inventory.collector import InventoryCollector
from lattice_agent.facts.inventory.families import inventory_families
from lattice_agent.facts.look import Look
from lattice_agent.facts.metrics import MetricsSampler
from lattice_agent.wire.host_inventory import HostInventory
from lattice_agent.wire.metrics import Metrics

pytestmark = pytest.mark.needs_inspection

OUTER_S = 30
MEMORY_MOVES = 512 * 2**20
"""Bytes; other processes take and free memory, and write files, between two looks."""
NO_DRIVES = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "zd")
"""docs/facts.md: lsblk calls zram devices disks; we do not."""


def told(*command: str) -> str:
    """What a tool prints. Its exit code is its own business: systemd-detect-virt says 1 for none."""
    environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    return subprocess.run(command, capture_output=True, text=True, timeout=OUTER_S, check=False, env=environment).stdout


@pytest.fixture(scope="module")
def ours() -> HostInventory:
    inventory = InventoryCollector(inventory_families()).collect(datetime.now(UTC))
    assert inventory.gaps == ()
    return inventory


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return MetricsSampler().sample(datetime.now(UTC), 0.0)


def test_processors_as_lscpu_says(ours: HostInventory) -> None:
    theirs = {field["field"].rstrip(":"): field["data"] for field in json.loads(told("lscpu", "-J"))["lscpu"]}
    assert ours.cpu is not None
    assert ours.cpu.model == theirs["Model name"]
    assert ours.cpu.vendor == theirs["Vendor ID"]
    assert ours.cpu.threads == int(theirs["CPU(s)"])
    assert ours.cpu.sockets == int(theirs["Socket(s)"])
    assert ours.cpu.cores == int(theirs["Core(s) per socket"]) * int(theirs["Socket(s)"])
    flags = theirs["Flags"].split()
    assert ours.cpu.flags == tuple(flag for flag in ("aes", "avx2", "avx512f", "vmx", "svm", "sve") if flag in flags)


def test_usable_processors_as_nproc_says(ours: HostInventory) -> None:
    facts = collect_host_facts(Look(Path("/")), datetime.now(UTC))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    theirs = subprocess.run(["nproc"], capture_output=True, text=True, timeout=OUTER_S, check=True, env=environment)
    assert facts.cpu_cores == int(theirs.stdout)
    assert ours.cgroup is not None
    assert ours.cgroup.effective_cpus is not None
    assert ours.cgroup.effective_cpus <= facts.cpu_cores


def test_drives_as_lsblk_says(ours: HostInventory) -> None:
    columns = "NAME,TYPE,SIZE,ROTA,TRAN,SERIAL,MODEL"
    listed = json.loads(told("lsblk", "-J", "-b", "-d", "-o", columns))["blockdevices"]
    theirs = {
        one["name"]: one
        for one in listed
        if one["type"] == "disk" and one["size"] and not one["name"].startswith(NO_DRIVES)
    }
    assert [disk.name for disk in ours.disks] == sorted(theirs)
    for disk in ours.disks:
        other = theirs[disk.name]
        assert (disk.size_bytes, disk.rotational) == (other["size"], other["rota"])
        # Without udev lsblk knows neither model nor serial nor transport; sysfs does.
        for mine, field in ((disk.model, "model"), (disk.serial, "serial"), (disk.transport, "tran")):
            assert other[field] is None or mine == other[field].strip()


def test_interfaces_as_ip_says(ours: HostInventory) -> None:
    theirs = {one["ifname"]: one for one in json.loads(told("ip", "-j", "-d", "addr")) if one["ifname"] != "lo"}
    assert [one.name for one in ours.interfaces] == sorted(theirs)
    for one in ours.interfaces:
        other = theirs[one.name]
        assert one.mtu == other["mtu"]
        assert one.state == other["operstate"].lower()
        assert one.master == other.get("master", "")
        if other["link_type"] == "ether":
            assert one.mac == other["address"]
        addresses = {f"{each['local']}/{each['prefixlen']}" for each in other["addr_info"]}
        assert set(one.addresses) == addresses
        if "permaddr" in other and one.permanent_mac:
            assert one.permanent_mac == other["permaddr"]


def _real_file_systems() -> list[dict[str, Any]]:
    columns = "TARGET,SOURCE,FSTYPE,SIZE,OPTIONS,MAJ:MIN"
    found = json.loads(told("findmnt", "-J", "-b", "-l", "--real", "-o", columns))["filesystems"]
    return [one for one in found if one["source"].startswith("/dev/") and not one["source"].startswith("/dev/loop")]


def test_file_systems_as_findmnt_says_each_once(ours: HostInventory) -> None:
    theirs = _real_file_systems()
    assert {one.mount_point for one in ours.filesystems} <= {one["target"] for one in theirs} | {"/"}
    by_point = {one["target"]: one for one in theirs}
    assert sum(1 for one in ours.filesystems if one.mount_point in by_point) == len({one["maj:min"] for one in theirs})
    for one in ours.filesystems:
        other = by_point.get(one.mount_point)
        if other is not None:
            assert (one.type, one.size_bytes) == (other["fstype"], other["size"])
            assert one.read_only == ("ro" in other["options"].split(","))
            assert one.device == other["source"].partition("[")[0]


def test_use_of_file_systems_as_df_says(ours: HostInventory, metrics: Metrics) -> None:
    for one in ours.filesystems:
        line = told("df", "-B1", "--output=size,used,avail,itotal,iused", one.mount_point).splitlines()[1]
        size, used, available, inodes, inodes_used = map(int, line.split())
        assert (one.size_bytes, one.inodes) == (size, inodes or None)
        assert one.used_bytes == pytest.approx(used, abs=MEMORY_MOVES)
        assert one.available_bytes == pytest.approx(available, abs=MEMORY_MOVES)
        assert one.inodes_used == pytest.approx(inodes_used, abs=20_000)
        if one.mount_point == "/":
            assert metrics.disk_total == size
            # The base wire counts root's reserve as used; df does not.
            assert metrics.disk_used == pytest.approx(size - available, abs=MEMORY_MOVES)


def test_memory_as_free_says(ours: HostInventory, metrics: Metrics) -> None:
    _, memory, swap = told("free", "-b").splitlines()
    total, available = int(memory.split()[1]), int(memory.split()[-1])
    assert ours.memory is not None
    assert ours.memory.total_bytes == metrics.memory_total == total
    assert ours.memory.swap_total_bytes == int(swap.split()[1])
    assert metrics.memory_used == pytest.approx(total - available, abs=MEMORY_MOVES)


@pytest.mark.parametrize(("kind", "field"), [("--vm", "vm"), ("--container", "container")])
def test_virtualisation_as_systemd_says(ours: HostInventory, kind: str, field: str) -> None:
    assert ours.virtualization is not None
    assert getattr(ours.virtualization, field) == told("systemd-detect-virt", kind).strip()


def test_facts_and_metrics_as_psutil_says(ours: HostInventory, metrics: Metrics) -> None:
    assert ours.cpu is not None
    assert ours.cpu.threads == psutil.cpu_count()
    assert ours.cpu.cores == psutil.cpu_count(logical=False)
    assert metrics.memory_total == psutil.virtual_memory().total
    assert metrics.collected_at is not None
    assert metrics.uptime_seconds == pytest.approx(metrics.collected_at.timestamp() - psutil.boot_time(), abs=5)
    counted = {one.name for one in ours.interfaces if one.physical}
    theirs = psutil.net_io_counters(pernic=True)
    # The sum of psutil is over all interfaces; ours is over those that count.
    assert metrics.net_rx_bytes <= sum(theirs[name].bytes_recv for name in counted) <= metrics.net_rx_bytes + 2**30
    stats = psutil.net_if_stats()
    for one in ours.interfaces:
        assert one.mtu == stats[one.name].mtu
        assert (one.speed_mbps or 0) == max(0, stats[one.name].speed) % 65_535
