"""``host_facts``: what the host is (protocol reference 4.1)."""

import sys
from datetime import datetime
from pathlib import Path

from lattice_agent.facts.cpu import parse_cpu_model, usable_cpus
from lattice_agent.facts.memory import Memory, parse_memory
from lattice_agent.facts.reading import needs_portable
from lattice_agent.facts.rooted import is_live, read_text
from lattice_agent.facts.system import go_os, read_arch, read_distribution, read_hostname, read_kernel_version
from lattice_agent.facts.uptime import boot_time_before, parse_boot_time, parse_uptime
from lattice_agent.facts.virtualization import read_virtualization
from lattice_agent.wire.facts import HostFacts


def collect_host_facts(root: Path, now: datetime, container_variable: str = "") -> HostFacts:
    """Everything that is known of the host below ``root``; never raises.

    ``now`` (aware) is the stamp. ``container_variable`` is the value of ``container`` in the environment the agent was
    started with (see ``facts.virtualization``). An empty field was not known.
    """
    stat = read_text(root, "proc/stat")
    cpuinfo = read_text(root, "proc/cpuinfo")
    memory, boot_time = _portable() if needs_portable(root) else _from_proc(root, stat, now)
    distribution = read_distribution(root)
    return HostFacts(
        hostname=read_hostname(root),
        os=go_os(sys.platform) if is_live(root) else "linux",
        platform=distribution.id,
        platform_version=distribution.version,
        kernel_version=read_kernel_version(root),
        arch=read_arch(root),
        cpu_cores=usable_cpus(root, stat),
        cpu_model=parse_cpu_model(cpuinfo),
        memory_total=memory.total,
        swap_total=memory.swap_total,
        virtualization=read_virtualization(root, cpuinfo, container_variable),
        boot_time=boot_time,
        reported_at=now,
    )


def _from_proc(root: Path, stat: str, now: datetime) -> tuple[Memory, datetime | None]:
    uptime_s = parse_uptime(read_text(root, "proc/uptime"))
    memory = parse_memory(read_text(root, "proc/meminfo"))
    return memory, parse_boot_time(stat) or boot_time_before(now, uptime_s)


def _portable() -> tuple[Memory, datetime | None]:
    from lattice_agent.facts.portable import portable_boot_time, portable_memory

    return portable_memory(), portable_boot_time()
