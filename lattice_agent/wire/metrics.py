"""POST /api/agent/metrics: the heartbeat (protocol reference 1.3, 4.2)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Time, Uint, WireModel
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.hello import Addresses, Compatibility
from lattice_agent.wire.metrics_detail import MetricsDetail
from lattice_agent.wire.runtime import AgentRuntime


class Metrics(WireModel):
    """One sample. Sizes are bytes, speeds bytes per second, ``cpu_percent`` 0..100."""

    cpu_percent: float = 0.0
    load1: float = 0.0
    load5: float = 0.0
    load15: float = 0.0
    memory_used: Uint = 0
    memory_total: Uint = 0
    disk_used: Uint = 0
    disk_total: Uint = 0
    net_rx_bytes: Uint = 0
    net_tx_bytes: Uint = 0
    net_rx_speed: float = 0.0
    net_tx_speed: float = 0.0
    uptime_seconds: Uint = 0
    collected_at: Time = None


class Heartbeat(Addresses):
    """Only ``node_id`` is required by the server. ``metrics_detail`` is ours (docs/protocol.md)."""

    node_id: str = ""
    version: str = ""
    compatibility: Compatibility = Compatibility()
    metrics: Metrics = Metrics()
    host_facts: HostFacts = HostFacts()
    agent_runtime: AgentRuntime | None = None
    metrics_detail: Annotated[MetricsDetail | None, OMIT] = None
