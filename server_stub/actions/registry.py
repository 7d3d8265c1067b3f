"""Who may talk to the control plane: nodes and operators, and what nodes are configured to."""

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from server_stub.actions.sessions import end_sessions
from server_stub.errors import Refused
from server_stub.ids import new_identity, token_digest
from server_stub.rules.usage_report import is_id
from server_stub.store.base import Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Node, Operator

_ID_RULE = "must be 1 to 128 characters of A-Z a-z 0-9 _ . : -, the first a letter or digit"


def add_node(
    tables: Tables,
    actor: str,
    node_id: str,
    name: str,
    token: str,
    now: datetime,
    max_nodes: int,
    tags: tuple[str, ...] = (),
) -> Node:
    """Registers a node under a fresh token, which is shown once and kept as a digest."""
    if not is_id(node_id):
        raise Refused(400, f"id {_ID_RULE}")
    if tables.nodes.get(node_id) is not None:
        raise Refused(409, f"node {node_id} exists")
    if tables.nodes.count() >= max_nodes:
        raise Refused(409, f"there are {max_nodes} nodes already")
    node = Node(node_id, name or node_id, new_identity(), now, tags=tags)
    tables.nodes.add(node, token_digest(token))
    tables.audit.append(AuditEvent(now, actor, "node.add", node_id, node_id))
    return node


def get_node(tables: Tables, node_id: str) -> Node:
    """``Refused`` 404 for one that is not registered."""
    node = tables.nodes.get(node_id)
    if node is None:
        raise Refused(404, f"node {node_id} not found")
    return node


def rotate_token(tables: Tables, actor: str, node_id: str, token: str, now: datetime) -> None:
    """The old token is refused from the end of the transaction on; leases and snapshots stay."""
    get_node(tables, node_id)
    tables.nodes.set_token(node_id, token_digest(token))
    tables.audit.append(AuditEvent(now, actor, "node.rotate", node_id, node_id))


def set_disabled(tables: Tables, actor: str, node_id: str, disabled: bool, now: datetime) -> Node:
    """A disabled node is answered 401; everything of it is kept."""
    get_node(tables, node_id)
    tables.nodes.set_disabled(node_id, disabled)
    action = "node.disable" if disabled else "node.enable"
    tables.audit.append(AuditEvent(now, actor, action, node_id, node_id))
    return get_node(tables, node_id)


def set_tags(tables: Tables, actor: str, node_id: str, tags: tuple[str, ...], now: datetime) -> Node:
    """All that the node has from now on. Tasks that exist keep their nodes."""
    node = get_node(tables, node_id)
    tables.nodes.set_tags(node_id, tags)
    tables.audit.append(AuditEvent(now, actor, "node.tags", node_id, node_id, detail={"tags": list(tags)}))
    return replace(node, tags=tags)


def set_draining(tables: Tables, actor: str, node_id: str, draining: bool, now: datetime) -> Node:
    """A draining node is handed no tasks; what it has may end, and its results are taken."""
    node = get_node(tables, node_id)
    tables.nodes.set_draining(node_id, draining)
    action = "node.drain" if draining else "node.undrain"
    tables.audit.append(AuditEvent(now, actor, action, node_id, node_id))
    return replace(node, draining=draining)


def set_overrides(tables: Tables, actor: str, node_id: str, overrides: dict[str, Any], now: datetime) -> Node:
    """What the node's config answer carries from now on, in place of what it carried."""
    node = get_node(tables, node_id)
    tables.nodes.set_overrides(node_id, overrides)
    tables.audit.append(AuditEvent(now, actor, "node.config", node_id, node_id, detail={"keys": sorted(overrides)}))
    return replace(node, overrides=overrides)


def short_digest(script: str) -> str:
    """The first 16 hex digits of its SHA-256: for eyes, not for trust (protocol reference 1.4)."""
    return hashlib.sha256(script.encode()).hexdigest()[:16]


def add_operator(tables: Tables, actor: str, name: str, token: str, now: datetime, max_operators: int) -> Operator:
    """A name is used once, so that the audit stays unambiguous after a revocation; revoked ones count as well."""
    if not is_id(name):
        raise Refused(400, f"name {_ID_RULE}")
    known = tables.operators.all()
    if any(operator.name == name for operator in known):
        raise Refused(409, f"operator {name} exists")
    if len(known) >= max_operators:
        raise Refused(409, f"there are {max_operators} operators already")
    tables.operators.add(name, token_digest(token), now)
    tables.audit.append(AuditEvent(now, actor, "operator.add", name))
    return Operator(name, now)


def revoke_operator(tables: Tables, actor: str, name: str, now: datetime) -> Operator:
    """Refuses to revoke the last valid token: nobody could make a new one."""
    valid = [operator for operator in tables.operators.all() if operator.revoked_at is None]
    operator = next((operator for operator in valid if operator.name == name), None)
    if operator is None:
        raise Refused(404, f"operator {name} not found")
    if len(valid) == 1:
        raise Refused(409, f"operator {name} is the last one; add another first")
    tables.operators.revoke(name, now)
    end_sessions(tables, name)
    tables.audit.append(AuditEvent(now, actor, "operator.revoke", name))
    return replace(operator, revoked_at=now)


def note_denial(tables: Tables, address: str, what: str, reason: str, now: datetime) -> None:
    """A caller without a valid token. The caller sees to it that this is bounded in rate."""
    event = AuditEvent(now, "anonymous", what, address, decision="deny", reason=reason, origin=BY_AGENT)
    tables.audit.append(event)
