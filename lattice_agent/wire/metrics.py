"""POST /api/agent/metrics: the heartbeat (protocol reference 1.3, 4.2)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Time, Uint, WireModel
from lattice_agent.wire.fact import Fact
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.hello import Addresses, Compatibility
from lattice_agent.wire.metrics_detail import MetricsDetail
from lattice_agent.wire.policy import PolicySummary
from lattice_agent.wire.runtime import AgentRuntime

_TRAFFIC = "interfaces that count"


class Metrics(WireModel):
    """One sample. Sizes are bytes, speeds bytes per second, ``cpu_percent`` 0..100. What is not known is 0."""

    cpu_percent: Annotated[
        float,
        Fact("busy share of all CPUs since the sample before; at first load per core", "/proc/stat", unit="percent"),
    ] = 0.0
    load1: Annotated[float, Fact("mean of runnable threads over 1 minute", "/proc/loadavg", unit="threads")] = 0.0
    load5: Annotated[float, Fact("the same over 5 minutes", "/proc/loadavg", unit="threads")] = 0.0
    load15: Annotated[float, Fact("the same over 15 minutes", "/proc/loadavg", unit="threads")] = 0.0
    memory_used: Annotated[Uint, Fact("total less available", "/proc/meminfo", unit="bytes")] = 0
    memory_total: Annotated[Uint, Fact("memory of the machine", "/proc/meminfo `MemTotal`", unit="bytes")] = 0
    disk_used: Annotated[
        Uint,
        Fact("of the root file system: total less what ordinary users can still write", "statfs(2)", "container",
             unit="bytes"),
    ] = 0  # fmt: skip
    disk_total: Annotated[Uint, Fact("size of the root file system", "statfs(2)", "container", unit="bytes")] = 0
    net_rx_bytes: Annotated[
        Uint, Fact(f"received since boot by {_TRAFFIC}", "/proc/net/dev", "container", unit="bytes")
    ] = 0
    net_tx_bytes: Annotated[
        Uint, Fact(f"sent since boot by {_TRAFFIC}", "/proc/net/dev", "container", unit="bytes")
    ] = 0
    net_rx_speed: Annotated[
        float, Fact("received since the sample before", "/proc/net/dev", "container", "first sample", "bytes/s")
    ] = 0.0
    net_tx_speed: Annotated[
        float, Fact("sent since the sample before", "/proc/net/dev", "container", "first sample", "bytes/s")
    ] = 0.0
    uptime_seconds: Annotated[Uint, Fact("time since boot", "/proc/uptime", unit="s")] = 0
    collected_at: Annotated[Time, Fact("when the sample was taken", "the agent's clock", "agent", "never")] = None


class Heartbeat(Addresses):
    """Only ``node_id`` is required by the server. ``metrics_detail`` and ``policy`` are ours (docs/protocol.md)."""

    node_id: str = ""
    version: str = ""
    compatibility: Compatibility = Compatibility()
    metrics: Metrics = Metrics()
    host_facts: HostFacts = HostFacts()
    agent_runtime: AgentRuntime | None = None
    metrics_detail: Annotated[MetricsDetail | None, OMIT] = None
    policy: Annotated[PolicySummary | None, OMIT] = None
