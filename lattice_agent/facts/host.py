"""``host_facts``: what the host is (protocol reference 4.1)."""

import sys
from datetime import datetime
from typing import Final

from lattice_agent.facts.cpu import parse_cpu_model, usable_cpus
from lattice_agent.facts.look import Look
from lattice_agent.facts.memory import Memory, memory_of, parse_sizes
from lattice_agent.facts.reading import needs_portable
from lattice_agent.facts.rooted import is_live, read_text
from lattice_agent.facts.system import go_os, read_arch, read_distribution, read_hostname, read_kernel_version
from lattice_agent.facts.uptime import boot_time_before, parse_boot_time, parse_uptime
from lattice_agent.facts.virtualization import read_virtualization
from lattice_agent.wire.facts import HostFacts

_CPUINFO_LIMIT: Final = 65_536
"""Bytes; all CPUs say the same, and a machine has hundreds of them. Old ARM kernels name the model below four CPUs."""


def collect_host_facts(look: Look, now: datetime, container_variable: str = "") -> HostFacts:
    """Everything that is known of the host that is looked at; never raises.

    ``now`` (aware) is the stamp. ``container_variable`` is the value of ``container`` in the environment the agent was
    started with (see ``facts.virtualization``). An empty field was not known.
    """
    root = look.root
    cpuinfo = read_text(root, "proc/cpuinfo", _CPUINFO_LIMIT)
    memory, boot_time = _portable() if needs_portable(root) else _from_proc(look, now)
    distribution = read_distribution(root)
    return HostFacts(
        hostname=read_hostname(root),
        os=go_os(sys.platform) if is_live(root) else "linux",
        platform=distribution.id,
        platform_version=distribution.version,
        kernel_version=read_kernel_version(root),
        arch=read_arch(root),
        cpu_cores=usable_cpus(root, look.text("proc/stat")),
        cpu_model=parse_cpu_model(cpuinfo),
        memory_total=memory.total,
        swap_total=memory.swap_total,
        virtualization=read_virtualization(root, cpuinfo, container_variable),
        boot_time=boot_time,
        reported_at=now,
    )


def _from_proc(look: Look, now: datetime) -> tuple[Memory, datetime | None]:
    uptime_s = parse_uptime(look.text("proc/uptime"))
    memory = memory_of(look.once(parse_sizes, look.text("proc/meminfo")))
    return memory, parse_boot_time(look.text("proc/stat")) or boot_time_before(now, uptime_s)


def _portable() -> tuple[Memory, datetime | None]:
    from lattice_agent.facts.portable import portable_boot_time, portable_memory

    return portable_memory(), portable_boot_time()
