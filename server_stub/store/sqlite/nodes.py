"""Nodes, operators and switches in SQLite."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from server_stub.rules.addresses import Addresses
from server_stub.store.records import (
    Credential,
    FleetSummary,
    Node,
    NodeQuery,
    Operator,
    Presence,
    StoredInventory,
)
from server_stub.times import from_us, opt_from_us, opt_to_us, to_us

_NODE = (
    "SELECT id, name, identity_uuid, created_at, disabled, overrides, last_seen, agent_version, addresses, host_facts,"
    " metrics, agent_runtime, metrics_detail, policy, tags, draining FROM node"
)
_FOUND = (
    " WHERE id > :after AND (:tag = '' OR EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tag))"
    " AND (:text = '' OR instr(lower(id), :text) OR instr(lower(name), :text) OR instr(lower(agent_version), :text)"
    " OR instr(lower(json_extract(host_facts, '$.hostname')), :text)) ORDER BY id LIMIT :limit"
)
_SUMMARY = (
    "SELECT count(*), coalesce(sum(NOT disabled AND coalesce(last_seen, 0) >= :since), 0),"
    " coalesce(sum(disabled), 0), coalesce(sum(NOT disabled AND draining), 0) FROM node"
)
_EXECUTION_DISABLED = "task_execution_disabled"


class SqliteNodes:
    """``NodeTable``. ``credentials_changed`` tells the store to renew what it holds in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.credentials_changed = False

    def add(self, node: Node, token_sha256: bytes) -> None:
        self.credentials_changed = True
        self._connection.execute(
            "INSERT INTO node (id, name, identity_uuid, token_sha256, created_at, disabled, overrides, tags)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(node.id, node.name, node.identity_uuid, token_sha256, to_us(node.created_at), node.disabled),
                *(json.dumps(node.overrides), json.dumps(list(node.tags))),
            ),
        )

    def get(self, node_id: str) -> Node | None:
        row = self._connection.execute(f"{_NODE} WHERE id = ?", (node_id,)).fetchone()
        return None if row is None else _node(row)

    def all(self) -> list[Node]:
        return [_node(row) for row in self._connection.execute(f"{_NODE} ORDER BY id")]

    def find(self, query: NodeQuery, limit: int) -> list[Node]:
        wanted = {"text": query.text.lower(), "tag": query.tag, "after": query.after, "limit": limit}
        return [_node(row) for row in self._connection.execute(_NODE + _FOUND, wanted)]

    def summary(self, online_since: datetime) -> FleetSummary:
        total, online, disabled, draining = self._connection.execute(
            _SUMMARY, {"since": to_us(online_since)}
        ).fetchone()
        tags = self._connection.execute(
            "SELECT value, count(*) FROM node, json_each(tags) GROUP BY value ORDER BY value"
        )
        return FleetSummary(total, online, total - online - disabled, disabled, draining, dict(tags))

    def count(self) -> int:
        (number,) = self._connection.execute("SELECT count(*) FROM node").fetchone()
        return int(number)

    def unknown(self, node_ids: Iterable[str]) -> list[str]:
        known = "SELECT 1 FROM node WHERE id = ?"
        return [node_id for node_id in node_ids if self._connection.execute(known, (node_id,)).fetchone() is None]

    def set_token(self, node_id: str, token_sha256: bytes) -> None:
        self.credentials_changed = True
        self._connection.execute("UPDATE node SET token_sha256 = ? WHERE id = ?", (token_sha256, node_id))

    def set_disabled(self, node_id: str, disabled: bool) -> None:
        self.credentials_changed = True
        self._connection.execute("UPDATE node SET disabled = ? WHERE id = ?", (disabled, node_id))

    def set_overrides(self, node_id: str, overrides: dict[str, Any]) -> None:
        self._connection.execute("UPDATE node SET overrides = ? WHERE id = ?", (json.dumps(overrides), node_id))

    def set_tags(self, node_id: str, tags: Sequence[str]) -> None:
        self._connection.execute("UPDATE node SET tags = ? WHERE id = ?", (json.dumps(list(tags)), node_id))

    def set_draining(self, node_id: str, draining: bool) -> None:
        self._connection.execute("UPDATE node SET draining = ? WHERE id = ?", (draining, node_id))

    def draining(self, node_id: str) -> bool:
        row = self._connection.execute("SELECT draining FROM node WHERE id = ?", (node_id,)).fetchone()
        return row is not None and bool(row[0])

    def tagged(self, tags: Collection[str]) -> list[str]:
        wanted = set(tags)
        rows = self._connection.execute("SELECT id, tags FROM node WHERE NOT disabled AND tags != '[]' ORDER BY id")
        return [node_id for node_id, own in rows if wanted <= set(json.loads(own))]

    def set_presence(self, node_id: str, presence: Presence) -> None:
        self._connection.execute(
            "UPDATE node SET last_seen = ?, agent_version = ?, addresses = ?, host_facts = ?, metrics = ?,"
            " agent_runtime = ?, metrics_detail = ?, policy = ? WHERE id = ?",
            (
                opt_to_us(presence.last_seen),
                presence.agent_version,
                json.dumps(asdict(presence.addresses)),
                _opt_json(presence.host_facts),
                _opt_json(presence.metrics),
                _opt_json(presence.agent_runtime),
                _opt_json(presence.metrics_detail),
                _opt_json(presence.policy),
                node_id,
            ),
        )

    def set_inventory(self, inventory: StoredInventory) -> None:
        self._connection.execute(
            "INSERT INTO inventory (node_id, received_at, document) VALUES (?, ?, ?) ON CONFLICT (node_id)"
            " DO UPDATE SET received_at = excluded.received_at, document = excluded.document",
            (inventory.node_id, to_us(inventory.received_at), json.dumps(inventory.document, ensure_ascii=False)),
        )

    def inventory(self, node_id: str) -> StoredInventory | None:
        row = self._connection.execute(
            "SELECT received_at, document FROM inventory WHERE node_id = ?", (node_id,)
        ).fetchone()
        return None if row is None else StoredInventory(node_id, from_us(row[0]), json.loads(row[1]))

    def credentials(self) -> list[Credential]:
        """Of all nodes."""
        rows = self._connection.execute("SELECT id, token_sha256, disabled FROM node")
        return [Credential(node_id, digest, bool(disabled)) for node_id, digest, disabled in rows]


class SqliteOperators:
    """``OperatorTable``; see ``SqliteNodes`` for ``credentials_changed``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.credentials_changed = False

    def add(self, name: str, token_sha256: bytes, at: datetime) -> None:
        self.credentials_changed = True
        self._connection.execute(
            "INSERT INTO operator (name, token_sha256, created_at) VALUES (?, ?, ?)", (name, token_sha256, to_us(at))
        )

    def all(self) -> list[Operator]:
        rows = self._connection.execute("SELECT name, created_at, revoked_at FROM operator ORDER BY name")
        return [Operator(name, from_us(created), opt_from_us(revoked)) for name, created, revoked in rows]

    def revoke(self, name: str, at: datetime) -> None:
        self.credentials_changed = True
        self._connection.execute(
            "UPDATE operator SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", (to_us(at), name)
        )

    def password_hash(self, name: str) -> str | None:
        row = self._connection.execute(
            "SELECT password_hash FROM operator WHERE name = ? AND revoked_at IS NULL", (name,)
        ).fetchone()
        return None if row is None else row[0]

    def set_password(self, name: str, encoded: str | None) -> None:
        self._connection.execute("UPDATE operator SET password_hash = ? WHERE name = ?", (encoded, name))

    def credentials(self) -> dict[bytes, str]:
        """Token digest to name, of the operators that were not revoked."""
        rows = self._connection.execute("SELECT token_sha256, name FROM operator WHERE revoked_at IS NULL")
        return {bytes(digest): str(name) for digest, name in rows}


class SqliteSwitches:
    """``SwitchTable``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def task_execution_disabled(self) -> bool:
        row = self._connection.execute("SELECT value FROM switch WHERE name = ?", (_EXECUTION_DISABLED,)).fetchone()
        return row is not None and bool(row[0])

    def set_task_execution_disabled(self, disabled: bool) -> None:
        self._connection.execute(
            "INSERT INTO switch (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (_EXECUTION_DISABLED, disabled),
        )


def _opt_json(document: dict[str, Any] | None) -> str | None:
    return None if document is None else json.dumps(document, ensure_ascii=False)


def _opt_document(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text)


def _node(row: tuple[Any, ...]) -> Node:
    node_id, name, identity, created, disabled, overrides, seen, version, addresses, *documents, tags, draining = row
    presence = Presence(
        opt_from_us(seen),
        version,
        Addresses(**json.loads(addresses)),
        *map(_opt_document, documents),
    )
    return Node(
        *(node_id, name, identity, from_us(created), bool(disabled), json.loads(overrides), presence),
        *(tuple(json.loads(tags)), bool(draining)),
    )
