"""``metrics_detail`` in the heartbeat (docs/protocol.md, ``metrics.detail``).

Rates are over the time since the sample before, by the monotonic clock; the first sample has none. A counter that fell
or made a step that is not possible adds nothing.
"""

from typing import Annotated, Final

from pydantic import Field

from lattice_agent.wire.base import Items, Uint
from lattice_agent.wire.fact import Fact, FactModel, Gap

MAX_CORES: Final = 4096
MAX_DISKS: Final = 256
MAX_INTERFACES: Final = 256
MAX_GAPS: Final = 8

Count = Uint | None
Rate = Annotated[float, Field(ge=0)] | None
Percent = Annotated[float, Field(ge=0, le=100)] | None


class CpuUse(FactModel):
    """Shares of the time of all CPUs since the sample before."""

    cores: Annotated[
        Items[Annotated[float, Field(ge=0, le=100)]],
        Field(max_length=MAX_CORES),
        Fact("busy share of each CPU, in the order of their numbers", "/proc/stat `cpu<n>`", unit="percent"),
    ] = ()
    user: Annotated[Percent, Fact("user code, niced included", "/proc/stat", unit="percent")] = None
    system: Annotated[Percent, Fact("kernel, interrupts included", "/proc/stat", unit="percent")] = None
    iowait: Annotated[Percent, Fact("idle with a disk to wait for", "/proc/stat", unit="percent")] = None
    steal: Annotated[Percent, Fact("wanted, but the hypervisor gave it to others", "/proc/stat", unit="percent")] = None


class MemoryUse(FactModel):
    """Memory and swap by use."""

    free_bytes: Annotated[Count, Fact("used by nothing", "/proc/meminfo `MemFree`", unit="bytes")] = None
    available_bytes: Annotated[
        Count, Fact("what a new process could have without swapping", "/proc/meminfo `MemAvailable`", unit="bytes")
    ] = None
    buffers_bytes: Annotated[Count, Fact("cache of block devices", "/proc/meminfo `Buffers`", unit="bytes")] = None
    cached_bytes: Annotated[Count, Fact("cache of files, shared memory included", "/proc/meminfo `Cached`",
                                        unit="bytes")] = None  # fmt: skip
    shared_bytes: Annotated[Count, Fact("shared memory and tmpfs", "/proc/meminfo `Shmem`", unit="bytes")] = None
    reclaimable_bytes: Annotated[
        Count, Fact("kernel memory that can be given back", "/proc/meminfo `SReclaimable`", unit="bytes")
    ] = None
    dirty_bytes: Annotated[Count, Fact("waiting to be written to disk", "/proc/meminfo `Dirty`", unit="bytes")] = None
    swap_used_bytes: Annotated[Count, Fact("swapped out", "/proc/meminfo `SwapTotal` - `SwapFree`", unit="bytes")] = (
        None
    )
    swap_in_rate: Annotated[Rate, Fact("read back from swap", "/proc/vmstat `pswpin`", unit="bytes/s")] = None
    swap_out_rate: Annotated[Rate, Fact("written to swap", "/proc/vmstat `pswpout`", unit="bytes/s")] = None


class Pressure(FactModel):
    """Share of time in which something waited for one resource (PSI)."""

    some_10s: Annotated[Percent, Fact("at least one task waited, mean of 10 s", "`some avg10`", unit="percent")] = None
    some_60s: Annotated[Percent, Fact("at least one task waited, mean of 60 s", "`some avg60`", unit="percent")] = None
    full_10s: Annotated[Percent, Fact("all tasks waited, mean of 10 s", "`full avg10`", unit="percent")] = None
    full_60s: Annotated[Percent, Fact("all tasks waited, mean of 60 s", "`full avg60`", unit="percent")] = None


class Pressures(FactModel):
    """PSI of the whole system."""

    cpu: Annotated[
        Pressure | None, Fact("waiting for a CPU", "/proc/pressure/cpu", absent="the kernel does not measure it")
    ] = None
    memory: Annotated[Pressure | None, Fact("waiting for memory", "/proc/pressure/memory", absent="as cpu")] = None
    io: Annotated[Pressure | None, Fact("waiting for a disk", "/proc/pressure/io", absent="as cpu")] = None


class DiskUse(FactModel):
    """One drive of the inventory."""

    name: Annotated[str, Fact("the kernel's name", "/proc/diskstats", absent="never")] = ""
    read_rate: Annotated[Rate, Fact("read from it", "/proc/diskstats", absent="first sample", unit="bytes/s")] = None
    write_rate: Annotated[Rate, Fact("written to it", "/proc/diskstats", absent="first sample", unit="bytes/s")] = None
    reads_rate: Annotated[Rate, Fact("reads completed", "/proc/diskstats", absent="first sample", unit="1/s")] = None
    writes_rate: Annotated[Rate, Fact("writes completed", "/proc/diskstats", absent="first sample", unit="1/s")] = None
    busy: Annotated[
        Percent,
        Fact("time with a request on the way", "/proc/diskstats, field 13", absent="first sample", unit="percent"),
    ] = None


class InterfaceUse(FactModel):
    """One interface that counts as the host's own."""

    name: Annotated[str, Fact("its name", "/proc/net/dev", "container", absent="never")] = ""
    rx_rate: Annotated[Rate, Fact("received", "/proc/net/dev", "container", "first sample", "bytes/s")] = None
    tx_rate: Annotated[Rate, Fact("sent", "/proc/net/dev", "container", "first sample", "bytes/s")] = None
    rx_packets_rate: Annotated[Rate, Fact("received", "/proc/net/dev", "container", "first sample", "1/s")] = None
    tx_packets_rate: Annotated[Rate, Fact("sent", "/proc/net/dev", "container", "first sample", "1/s")] = None
    rx_errors: Annotated[Count, Fact("errors since it came up", "/proc/net/dev", "container", unit="packets")] = None
    tx_errors: Annotated[Count, Fact("errors since it came up", "/proc/net/dev", "container", unit="packets")] = None
    rx_dropped: Annotated[Count, Fact("dropped since it came up", "/proc/net/dev", "container", unit="packets")] = None
    tx_dropped: Annotated[Count, Fact("dropped since it came up", "/proc/net/dev", "container", unit="packets")] = None


class Kernel(FactModel):
    """Tables of the kernel that can fill up."""

    open_files: Annotated[Count, Fact("open file handles", "/proc/sys/fs/file-nr", unit="handles")] = None
    open_files_limit: Annotated[Count, Fact("most that can be open", "/proc/sys/fs/file-nr", unit="handles")] = None
    processes: Annotated[
        Count, Fact("processes that the agent can see", "/proc/<pid>", "container", unit="processes")
    ] = None
    threads: Annotated[Count, Fact("threads of all processes", "/proc/loadavg, field 4", unit="threads")] = None
    running: Annotated[Count, Fact("threads that run or could run", "/proc/stat `procs_running`", unit="threads")] = (
        None
    )
    blocked: Annotated[Count, Fact("threads that wait for a disk", "/proc/stat `procs_blocked`", unit="threads")] = None


class AgentCost(FactModel):
    """What the agent itself costs and how far behind it is."""

    cpu_seconds: Annotated[
        Rate, Fact("CPU time of the agent since its start, scripts not included", "getrusage(2)", "agent", unit="s")
    ] = None
    pss_bytes: Annotated[
        Count,
        Fact("memory of the agent, shared pages by share; read once a minute", "/proc/self/smaps_rollup", "agent",
             "the kernel has no smaps_rollup, or it was not read yet", "bytes"),
    ] = None  # fmt: skip
    open_files: Annotated[
        Count, Fact("open descriptors of the agent", "/proc/self/fd", "agent", unit="descriptors")
    ] = None
    loop_lag_s: Annotated[
        Rate,
        Fact("most that the event loop woke too late since the sample before", "its own clock", "agent",
             "not measured yet", "s"),
    ] = None  # fmt: skip
    tasks_running: Annotated[Count, Fact("tasks that run", "the agent", "agent", unit="tasks")] = None
    results_waiting: Annotated[
        Count, Fact("results that the control plane has not taken yet", "state.db", "agent", unit="results")
    ] = None


class MetricsDetail(FactModel):
    """Everything beyond ``metrics``; a group that is not there could not be read."""

    cpu: CpuUse | None = None
    memory: MemoryUse | None = None
    pressure: Pressures | None = None
    disks: Annotated[Items[DiskUse], Field(max_length=MAX_DISKS)] = ()
    interfaces: Annotated[Items[InterfaceUse], Field(max_length=MAX_INTERFACES)] = ()
    kernel: Kernel | None = None
    agent: AgentCost | None = None
    gaps: Annotated[Items[Gap], Field(max_length=MAX_GAPS)] = ()
