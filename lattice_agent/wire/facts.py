"""``host_facts``: slow-changing inventory (protocol reference 4.1)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Time, Uint, WireModel
from lattice_agent.wire.fact import Fact

_VIRTUALIZATION = "$container, /.dockerenv, /run/.containerenv, /proc/1/cgroup, /proc/cpuinfo `hypervisor`"


class HostFacts(WireModel):
    """What the host is. Every field is best effort; an empty one was not known. Sizes are bytes."""

    hostname: Annotated[str, OMIT, Fact("host name", "/proc/sys/kernel/hostname, uname(2)", "container")] = ""
    os: Annotated[str, OMIT, Fact("operating system in Go's spelling", "sys.platform", absent="never")] = ""
    platform: Annotated[str, OMIT, Fact("distribution", "/etc/os-release ID", "container")] = ""
    platform_version: Annotated[
        str, OMIT, Fact("its version", "/etc/os-release VERSION_ID", "container", absent="a rolling distribution")
    ] = ""
    kernel_version: Annotated[str, OMIT, Fact("kernel release", "/proc/sys/kernel/osrelease, uname(2)")] = ""
    arch: Annotated[
        str, OMIT, Fact("architecture in Go's spelling, of the program that asks", "uname(2); /proc/sys/kernel/arch")
    ] = ""
    cpu_cores: Annotated[
        Int, OMIT, Fact("CPUs the agent may run on, cpusets included", "sched_getaffinity(2)", "cgroup", unit="CPUs")
    ] = 0
    cpu_model: Annotated[
        str, OMIT, Fact("name of the processor", "/proc/cpuinfo `model name`, `Hardware`, `Processor`")
    ] = ""
    memory_total: Annotated[
        Uint,
        OMIT,
        Fact("memory of the machine, whatever a container may use of it", "/proc/meminfo `MemTotal`", unit="bytes"),
    ] = 0
    swap_total: Annotated[Uint, OMIT, Fact("swap space", "/proc/meminfo `SwapTotal`", absent="0", unit="bytes")] = 0
    virtualization: Annotated[
        str,
        OMIT,
        Fact("container runtime, container, vm or unknown, by the base wire's rule", _VIRTUALIZATION, "container"),
    ] = ""
    boot_time: Annotated[
        Time, Fact("when the host was booted; the same second in every report", "/proc/stat `btime`")
    ] = None
    reported_at: Annotated[Time, Fact("when this was collected", "the agent's clock", "agent", absent="never")] = None
