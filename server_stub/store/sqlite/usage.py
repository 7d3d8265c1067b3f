"""Profiles, users and their bytes in SQLite."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from server_stub.rules.accounts import Account
from server_stub.rules.usage import Baseline
from server_stub.rules.usage_report import MAX_COUNTER, Health
from server_stub.store.records import Profile, User, UserQuery
from server_stub.times import from_us, opt_from_us, opt_to_us, to_us

_PROFILE = "SELECT node_id, created_at, last_report_at, source, status, error, checked_at FROM profile"

_FOUND = (
    "SELECT * FROM user_row WHERE id > :after AND :user IN ('', id)"
    " AND (:text = '' OR instr(lower(id), :text) OR instr(lower(name), :text))"
    " AND (:node = '' OR nodes = '[]' OR EXISTS (SELECT 1 FROM json_each(nodes) WHERE value = :node))"
    " ORDER BY id LIMIT :limit"
)


class SqliteUsage:
    """``UsageTable``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_profile(self, profile: Profile) -> None:
        self._connection.execute(
            "INSERT INTO profile (node_id, created_at) VALUES (?, ?)", (profile.node_id, to_us(profile.created_at))
        )

    def profile(self, node_id: str) -> Profile | None:
        row = self._connection.execute(f"{_PROFILE} WHERE node_id = ?", (node_id,)).fetchone()
        return None if row is None else _profile(row)

    def profiles(self) -> list[Profile]:
        return [_profile(row) for row in self._connection.execute(f"{_PROFILE} ORDER BY node_id")]

    def set_health(self, node_id: str, health: Health | None, reported_at: datetime) -> None:
        self._connection.execute(
            "UPDATE profile SET last_report_at = ? WHERE node_id = ?", (to_us(reported_at), node_id)
        )
        if health is None:
            return
        self._connection.execute(
            "UPDATE profile SET source = ?, status = ?, error = ?, checked_at = ? WHERE node_id = ?",
            (health.source, health.status, health.error, opt_to_us(health.checked_at), node_id),
        )

    def baseline(self, node_id: str) -> Baseline | None:
        row = self._connection.execute("SELECT document FROM baseline WHERE node_id = ?", (node_id,)).fetchone()
        if row is None:
            return None
        document = json.loads(row[0])
        return Baseline(document["core_uptime_sec"], document["counters"])

    def set_baseline(self, node_id: str, baseline: Baseline, at: datetime) -> None:
        document = {"core_uptime_sec": baseline.core_uptime_sec, "counters": dict(baseline.counters)}
        self._connection.execute(
            "INSERT INTO baseline (node_id, at, document) VALUES (?, ?, ?)"
            " ON CONFLICT (node_id) DO UPDATE SET at = excluded.at, document = excluded.document",
            (node_id, to_us(at), json.dumps(document)),
        )

    def add_user(self, user: User) -> None:
        account = user.account
        self._connection.execute(
            "INSERT INTO user (id, name, created_at, enabled, quota_bytes, used_bytes, expires_at, nodes, alerts,"
            " last_seen_at, reset_day, period_start) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(account.user_id, user.name, to_us(user.created_at), account.enabled, account.quota_bytes),
                *(account.used_bytes, opt_to_us(account.expires_at), json.dumps(sorted(account.nodes))),
                *(json.dumps(sorted(account.alerts)), opt_to_us(user.last_seen_at)),
                *(account.reset_day, opt_to_us(account.period_start)),
            ),
        )

    def user(self, user_id: str) -> User | None:
        found = self.users([user_id])
        return found[0] if found else None

    def users(self, user_ids: Sequence[str] | None = None) -> list[User]:
        if user_ids is None:
            rows = self._connection.execute("SELECT * FROM user_row ORDER BY id")
        else:
            chosen = json.dumps(list(user_ids))
            rows = self._connection.execute(
                "SELECT * FROM user_row WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", (chosen,)
            )
        return [_user(row) for row in rows]

    def find(self, query: UserQuery, limit: int) -> list[User]:
        wanted = {"text": query.text.lower(), "node": query.node_id, "after": query.after, "user": query.user_id}
        return [_user(row) for row in self._connection.execute(_FOUND, wanted | {"limit": limit})]

    def bytes_by_node(self, user_id: str) -> dict[str, int]:
        rows = self._connection.execute(
            "SELECT node_id, total(bytes) FROM user_node WHERE ? IN ('', user_id) GROUP BY node_id", (user_id,)
        )
        return {node_id: int(count) for node_id, count in rows}

    def users_expiring(self, before: datetime) -> list[User]:
        rows = self._connection.execute(
            "SELECT * FROM user_row WHERE id IN (SELECT id FROM user WHERE expires_at < ? AND enabled) ORDER BY id",
            (to_us(before),),
        )
        return [_user(row) for row in rows]

    def user_count(self) -> int:
        (number,) = self._connection.execute("SELECT count(*) FROM user").fetchone()
        return int(number)

    def set_account(self, account: Account, seen_at: datetime | None = None) -> None:
        self._connection.execute(
            "UPDATE user SET enabled = ?, quota_bytes = ?, used_bytes = ?, expires_at = ?, nodes = ?, alerts = ?,"
            " reset_day = ?, period_start = ?, last_seen_at = coalesce(?, last_seen_at) WHERE id = ?",
            (
                *(account.enabled, account.quota_bytes, account.used_bytes, opt_to_us(account.expires_at)),
                *(json.dumps(sorted(account.nodes)), json.dumps(sorted(account.alerts)), account.reset_day),
                *(opt_to_us(account.period_start), opt_to_us(seen_at), account.user_id),
            ),
        )

    def add_bytes(self, user_id: str, node_id: str, count: int) -> None:
        # Saturates like the account itself; SQLite would turn an overflowing sum into a float.
        self._connection.execute(
            "INSERT INTO user_node (user_id, node_id, bytes) VALUES (?, ?, ?) ON CONFLICT (user_id, node_id)"
            " DO UPDATE SET bytes = CASE WHEN bytes > ? - excluded.bytes THEN ? ELSE bytes + excluded.bytes END",
            (user_id, node_id, count, MAX_COUNTER, MAX_COUNTER),
        )


def _profile(row: tuple[Any, ...]) -> Profile:
    node_id, created, reported, source, status, error, checked = row
    health = None if status is None else Health(source, status, error, opt_from_us(checked))
    return Profile(node_id, from_us(created), health, opt_from_us(reported))


def _user(row: tuple[Any, ...]) -> User:
    user_id, name, created, enabled, quota, used, expires, nodes, alerts, seen, reset_day, period, per_node = row
    account = Account(
        *(user_id, used, quota, bool(enabled), opt_from_us(expires)),
        *(frozenset(json.loads(nodes)), frozenset(json.loads(alerts)), reset_day, opt_from_us(period)),
    )
    return User(account, name, from_us(created), opt_from_us(seen), json.loads(per_node))
