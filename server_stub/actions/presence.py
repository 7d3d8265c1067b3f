"""What a node says about itself: hello and heartbeat (protocol reference 1.2, 1.3), and the events it sends (1.10)."""

import json
from datetime import datetime
from typing import Any, Final

from lattice_agent.wire.base import UNSET_TIME, WireModel, encode
from lattice_agent.wire.events import AgentEvent
from lattice_agent.wire.hello import Addresses as SentAddresses
from lattice_agent.wire.hello import Hello
from lattice_agent.wire.host_inventory import TEXT_BYTES, HostInventory
from lattice_agent.wire.metrics import Heartbeat
from server_stub.actions.metrics import take_metrics
from server_stub.rules.addresses import Addresses, merge
from server_stub.rules.facts import clean_document, clean_facts, clean_metrics, clean_policy, clean_runtime, clean_text
from server_stub.store.base import Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Node, Presence, StoredInventory
from server_stub.times import in_utc

_VERSION_BYTES: Final = 96
_EVENT_TEXT_BYTES: Final = 240


def take_hello(tables: Tables, node_id: str, hello: Hello, observed: str, now: datetime) -> None:
    """Nothing of the call is kept when its network metadata is refused."""
    before = _node(tables, node_id).presence
    reported = _reported(hello, hello.wireguard_public_key, hello.wireguard_endpoint, hello.wireguard_port)
    facts = clean_facts(hello.host_facts, now)
    presence = Presence(
        now,
        clean_text(hello.version, _VERSION_BYTES) or before.agent_version,
        merge(before.addresses, reported, observed, hello=True),
        before.host_facts if facts is None else _document(facts),
        before.metrics,
        before.agent_runtime,
        before.metrics_detail,
        before.policy,
    )
    tables.nodes.set_presence(node_id, presence)


def take_heartbeat(tables: Tables, node_id: str, beat: Heartbeat, observed: str, now: datetime) -> None:
    """A heartbeat without ``agent_runtime`` leaves the node without one, as in the reference."""
    before = _node(tables, node_id).presence
    facts = clean_facts(beat.host_facts, now)
    presence = Presence(
        now,
        clean_text(beat.version, _VERSION_BYTES) or before.agent_version,
        merge(before.addresses, _reported(beat), observed, hello=False),
        before.host_facts if facts is None else _document(facts),
        _document(clean_metrics(beat.metrics)),
        None if beat.agent_runtime is None else _document(clean_runtime(beat.agent_runtime)),
        None if beat.metrics_detail is None else clean_document(_document(beat.metrics_detail), TEXT_BYTES),
        None if beat.policy is None else _document(clean_policy(beat.policy)),
    )
    tables.nodes.set_presence(node_id, presence)
    take_metrics(tables, node_id, beat.metrics, now)


def take_inventory(tables: Tables, node_id: str, inventory: HostInventory, now: datetime) -> None:
    """The whole inventory as it was reported replaces the one before."""
    sized = inventory.model_copy(update={"collected_at": in_utc(inventory.collected_at)})
    document = clean_document(_document(sized), TEXT_BYTES)
    tables.nodes.set_inventory(StoredInventory(node_id, now, document))


def take_event(tables: Tables, node_id: str, event: AgentEvent, now: datetime) -> None:
    """Events are audited and nothing else."""
    fields = event.model_dump(exclude={"node_id"})
    detail = {name: clean_text(value, _EVENT_TEXT_BYTES) for name, value in fields.items() if value}
    action = "ssh.login" if event.kind == "ssh_login" else "agent.event"
    tables.audit.append(AuditEvent(now, node_id, action, node_id, node_id, origin=BY_AGENT, detail=detail))


def _node(tables: Tables, node_id: str) -> Node:
    node = tables.nodes.get(node_id)
    assert node is not None, "an authenticated node is registered, and nodes are never deleted"
    return node


def _reported(sent: SentAddresses, key: str = "", endpoint: str = "", port: int = 0) -> Addresses:
    return Addresses(
        sent.public_ip,
        sent.public_ipv6,
        sent.internal_ip,
        sent.internal_ipv6,
        sent.wireguard_ip,
        key,
        endpoint,
        port,
    )


def _document(message: WireModel) -> dict[str, Any]:
    """As operators see it: an unset time is null instead of year 1."""
    fields: dict[str, Any] = json.loads(encode(message))
    return {name: None if value == UNSET_TIME else value for name, value in fields.items()}
