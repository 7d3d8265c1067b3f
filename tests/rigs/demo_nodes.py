"""Nodes that look as nodes do: facts, policies, and a week of metrics with days and nights in it.

Everything goes into the store through the actions of the control plane, with times in the past, and is the same
every time but for the clock.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.host_inventory import Cpu, Disk, FileSystem, HostInventory, Interface, System
from lattice_agent.wire.metrics import Heartbeat, Metrics
from lattice_agent.wire.policy import PolicySummary
from lattice_agent.wire.runtime import AgentRuntime
from server_stub.actions.metrics import take_metrics
from server_stub.actions.presence import take_heartbeat, take_inventory
from server_stub.actions.registry import add_node, set_disabled, set_draining
from server_stub.config import Limits
from server_stub.ids import new_node_token
from server_stub.store.base import Tables

GIB: Final = 2**30
PROTECTIONS: Final = ("cgroup", "landlock", "namespaces", "no_new_privs", "own uid", "seccomp")
OPERATOR: Final = "anna"


@dataclass(frozen=True)
class Machine:
    """A node of the fleet. ``busy`` is its share of CPU at noon, ``silent_for`` how long it has said nothing."""

    id: str
    tags: tuple[str, ...]
    name: str = ""
    level: str = "strict"
    warning: str = ""
    version: str = "0.1.0"
    busy: float = 0.35
    cores: int = 4
    memory: int = 8 * GIB
    silent_for: timedelta = timedelta()
    draining: bool = False
    disabled: bool = False


MACHINES: Final = (
    Machine("db-1", ("db", "eu-west"), "PostgreSQL, primary", busy=0.55, cores=8, memory=32 * GIB),
    Machine("db-2", ("db", "eu-west"), "PostgreSQL, standby", busy=0.2, cores=8, memory=32 * GIB, draining=True),
    Machine("edge-fra", ("edge", "eu-central"), "Frankfurt", level="network", busy=0.45, cores=2, memory=2 * GIB),
    Machine("edge-sin", ("ap-southeast", "edge"), "Singapore", busy=0.4, silent_for=timedelta(hours=2, minutes=11)),
    Machine("edge-sto", ("edge", "eu-north"), "Stockholm", level="host", version="1.4.2",
            warning="no user namespaces: scripts run as the agent does"),
    Machine("lab-7", ("lab",), disabled=True, silent_for=timedelta(days=3)),
    Machine("web-1", ("eu-west", "web"), busy=0.6),
    Machine("web-2", ("eu-west", "web"), busy=0.5),
    Machine("web-3", ("eu-west", "web"), level="landlock", warning="no memory controller is delegated", busy=0.3),
)  # fmt: skip


def add_machines(tables: Tables, now: datetime) -> None:
    for machine in MACHINES:
        added = now - timedelta(days=40)
        name, node_id, most = machine.name, machine.id, Limits().nodes
        add_node(tables, OPERATOR, node_id, name, new_node_token(), added, most, tags=machine.tags)
        last = now - machine.silent_for
        for moment in _moments(last):
            take_metrics(tables, node_id, _metrics(machine, moment), moment)
        take_heartbeat(tables, node_id, _heartbeat(machine, last), "203.0.113.7", last)
        take_inventory(tables, node_id, _inventory(machine), last)
        if machine.draining:
            set_draining(tables, OPERATOR, node_id, True, now - timedelta(minutes=52))
        if machine.disabled:
            set_disabled(tables, OPERATOR, node_id, True, now - timedelta(days=2))


def _moments(last: datetime) -> Iterator[datetime]:
    """A week, every ten minutes, but for a night in which nothing was heard; the last two hours every minute."""
    for minutes in range(7 * 24 * 60, 120, -10):
        if not 3 * 24 * 60 < minutes < 3 * 24 * 60 + 500:
            yield last - timedelta(minutes=minutes)
    for minutes in range(120, 0, -1):
        yield last - timedelta(minutes=minutes)


def _metrics(machine: Machine, moment: datetime) -> Metrics:
    chance = random.Random(f"{machine.id} {moment:%j %H:%M}")
    hour = moment.hour + moment.minute / 60
    day = 0.5 - 0.5 * math.cos((hour - 3) / 24 * math.tau)
    busy = machine.busy * (0.25 + 0.75 * day) * chance.uniform(0.85, 1.15)
    age = machine.cores * 0.01 + (moment.timetuple().tm_yday % 30) / 300
    return Metrics(
        cpu_percent=100 * busy,
        load1=machine.cores * busy * chance.uniform(0.8, 1.1),
        load5=machine.cores * busy,
        load15=machine.cores * busy,
        memory_used=int(machine.memory * (0.42 + 0.3 * busy)),
        memory_total=machine.memory,
        disk_used=int(80 * GIB * (0.45 + age)),
        disk_total=80 * GIB,
        net_rx_speed=2_400_000 * busy * chance.uniform(0.7, 1.3),
        net_tx_speed=6_100_000 * busy * chance.uniform(0.7, 1.3),
        uptime_seconds=2_921_000,
        collected_at=moment,
    )


def _heartbeat(machine: Machine, moment: datetime) -> Heartbeat:
    facts = HostFacts(
        hostname=f"{machine.id}.example.net",
        os="linux",
        platform="debian",
        platform_version="13",
        kernel_version="6.12.48-amd64",
        arch="amd64",
        cpu_cores=machine.cores,
        cpu_model="AMD EPYC 9354P 32-Core Processor",
        memory_total=machine.memory,
        virtualization="vm",
        boot_time=moment - timedelta(days=33),
    )
    runtime = AgentRuntime(
        allow_exec=True,
        task_sandbox=machine.level,
        task_sandbox_features=PROTECTIONS if machine.level != "host" else (),
        task_sandbox_warning=machine.warning,
    )
    return Heartbeat(
        node_id=machine.id,
        version=machine.version,
        metrics=_metrics(machine, moment),
        host_facts=facts,
        agent_runtime=runtime,
        policy=None if machine.level == "host" else _policy(machine),
    )


def _policy(machine: Machine) -> PolicySummary:
    return PolicySummary(
        allow_exec=True,
        default_level=machine.level,
        levels=("strict", "network"),
        interpreters=("sh", "bash", "python3"),
        only_listed_scripts=machine.id.startswith("db-"),
        max_timeout_sec=600,
        max_output_bytes=262_144,
        memory_bytes=GIB,
    )


def _inventory(machine: Machine) -> HostInventory:
    disk = Disk(name="nvme0n1", model="KXG60ZNV1T02", size_bytes=80 * GIB, rotational=False, transport="nvme")
    root = FileSystem(device="/dev/nvme0n1p2", mount_point="/", type="ext4", size_bytes=80 * GIB, used_bytes=39 * GIB)
    link = Interface(name="eth0", physical=True, state="up", mtu=1500, driver="virtio_net", addresses=("10.0.4.11/24",))
    return HostInventory(
        cpu=Cpu(model="AMD EPYC 9354P 32-Core Processor", vendor="AuthenticAMD", cores=machine.cores, threads=8),
        disks=(disk,),
        filesystems=(root,),
        interfaces=(link,),
        system=System(name="Debian GNU/Linux 13 (trixie)", id="debian", version="13", kernel="6.12.48-amd64"),
    )
