"""Records as operators see them: JSON objects, times in RFC 3339, ``null`` for what is not known."""

from datetime import datetime

from server_stub.api.shapes import (
    AddressesShape,
    BookingShape,
    EventShape,
    InventoryShape,
    NodeShape,
    OperatorShape,
    ProfileShape,
    UserShape,
)
from server_stub.rules.addresses import Addresses
from server_stub.rules.facts import is_online
from server_stub.store.records import (
    AuditEvent,
    Booking,
    Node,
    Operator,
    Profile,
    StoredInventory,
    User,
)
from server_stub.times import text


def node_view(node: Node, now: datetime, *, control_stream: bool) -> NodeShape:
    """``control_stream``: whether the node has one open."""
    presence = node.presence
    return {
        "id": node.id,
        "name": node.name,
        "created_at": text(node.created_at),
        "disabled": node.disabled,
        "tags": list(node.tags),
        "draining": node.draining,
        "online": is_online(presence.last_seen, now),
        "last_seen": text(presence.last_seen),
        "agent_version": presence.agent_version,
        "addresses": _addresses(presence.addresses),
        "host_facts": presence.host_facts,
        "metrics": presence.metrics,
        "agent_runtime": presence.agent_runtime,
        "metrics_detail": presence.metrics_detail,
        "policy": presence.policy,
        "control_stream": control_stream,
        "config": node.overrides,
    }


def _addresses(addresses: Addresses) -> AddressesShape:
    return {
        "public_ip": addresses.public_ip,
        "public_ipv6": addresses.public_ipv6,
        "internal_ip": addresses.internal_ip,
        "internal_ipv6": addresses.internal_ipv6,
        "wireguard_ip": addresses.wireguard_ip,
        "wireguard_public_key": addresses.wireguard_public_key,
        "wireguard_endpoint": addresses.wireguard_endpoint,
        "wireguard_port": addresses.wireguard_port,
    }


def inventory_view(inventory: StoredInventory | None) -> InventoryShape:
    """``inventory`` is null while the node has reported none."""
    if inventory is None:
        return {"inventory": None, "received_at": None}
    return {"inventory": inventory.document, "received_at": text(inventory.received_at)}


def operator_view(operator: Operator) -> OperatorShape:
    return {
        "name": operator.name,
        "created_at": text(operator.created_at),
        "revoked_at": text(operator.revoked_at),
    }


def profile_view(profile: Profile) -> ProfileShape:
    health = profile.health
    return {
        "node_id": profile.node_id,
        "collector_source": health.source if health else "",
        "collector_status": health.status if health else "",
        "collector_error": health.error if health else "",
        "checked_at": text(health.checked_at) if health else None,
        "last_report_at": text(profile.last_report_at),
    }


def user_view(user: User, now: datetime) -> UserShape:
    """``per_node`` counts for ever; ``used_bytes`` since ``period_start``, if there is one."""
    account = user.account.at(now)
    return {
        "id": account.user_id,
        "name": user.name,
        "used_bytes": account.used_bytes,
        "quota_bytes": account.quota_bytes,
        "reset_day": account.reset_day,
        "period_start": text(account.period_start),
        "status": account.status(now),
        "enabled": account.enabled,
        "expires_at": text(account.expires_at),
        "nodes": sorted(account.nodes),
        "last_seen_at": text(user.last_seen_at),
        "per_node": user.per_node,
    }


def booking_view(booking: Booking) -> BookingShape:
    return {
        "start": text(booking.start),
        "user_id": booking.user_id,
        "node_id": booking.node_id,
        "bytes": booking.bytes,
    }


def audit_view(event: AuditEvent) -> EventShape:
    return {
        "id": event.id,
        "time": text(event.time),
        "actor": event.actor,
        "action": event.action,
        "target": event.target,
        "node_id": event.node_id,
        "decision": event.decision,
        "reason": event.reason,
        "detail": event.detail,
    }
