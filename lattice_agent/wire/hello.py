"""POST /api/agent/hello: sent at start (protocol reference 1.2)."""

from lattice_agent.wire.base import Int, WireModel
from lattice_agent.wire.facts import HostFacts


class Compatibility(WireModel):
    """Versions the agent was made for; the server ignores them."""

    server_min: str = ""
    dashboard_min: str = ""
    channel: str = ""


class Addresses(WireModel):
    """The node's own addresses. "" keeps what the server has, but for ``wireguard_ip`` in hello, which overwrites."""

    public_ip: str = ""
    public_ipv6: str = ""
    internal_ip: str = ""
    internal_ipv6: str = ""
    wireguard_ip: str = ""


class Hello(Addresses):
    """Every key is always sent."""

    node_id: str = ""
    version: str = ""
    compatibility: Compatibility = Compatibility()
    wireguard_public_key: str = ""
    wireguard_endpoint: str = ""
    wireguard_port: Int = 0
    host_facts: HostFacts = HostFacts()
