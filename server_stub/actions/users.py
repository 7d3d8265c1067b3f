"""Profiles and proxy users: where traffic is counted, and for whom."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from server_stub.actions.alerts import notify
from server_stub.actions.registry import get_node
from server_stub.errors import Refused
from server_stub.rules.accounts import Account, charge
from server_stub.rules.usage_report import is_id
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent, Profile, User
from server_stub.times import text

CHANGEABLE: Final = ("enabled", "quota_bytes", "reset_day", "expires_at", "nodes")
"""Fields of an account that operators set; the audit shows them before and after."""


def set_profile(tables: Tables, actor: str, node_id: str, now: datetime) -> Profile:
    """Makes the node one whose usage is counted; again is no change."""
    get_node(tables, node_id)
    profile = tables.usage.profile(node_id)
    if profile is None:
        profile = Profile(node_id, now)
        tables.usage.add_profile(profile)
        tables.audit.append(AuditEvent(now, actor, "profile.set", node_id, node_id))
    return profile


def get_user(tables: Tables, user_id: str) -> User:
    """``Refused`` 404 for one that does not exist."""
    user = tables.usage.user(user_id) if is_id(user_id) else None  # SQLite reads a text up to its first NUL
    if user is None:
        raise Refused(404, f"user {user_id} not found")
    return user


def add_user(tables: Tables, actor: str, account: Account, name: str, now: datetime, max_users: int) -> User:
    """Registers a proxy user; counting starts with the next report."""
    if not is_id(account.user_id):
        raise Refused(400, "id must be 1 to 128 characters of A-Z a-z 0-9 _ . : -, the first a letter or digit")
    _check_nodes(tables, account)
    if tables.usage.user(account.user_id) is not None:
        raise Refused(409, f"user {account.user_id} exists")
    if tables.usage.user_count() >= max_users:
        raise Refused(409, f"there are {max_users} users already")
    user = User(account.at(now), name or account.user_id, now)
    tables.usage.add_user(user)
    tables.audit.append(AuditEvent(now, actor, "user.add", account.user_id))
    return user


def change_user(tables: Tables, actor: str, user_id: str, changes: Mapping[str, Any], now: datetime) -> User:
    """Sets the fields in ``changes`` (of ``CHANGEABLE``); the same again is no change. Where the user is no longer
    counted, its totals in ledgers move on unbilled; a snapshot's baseline forgets it (protocol reference 5.5)."""
    user = get_user(tables, user_id)
    before = user.account.at(now)
    after = replace(before, **{key: value for key, value in changes.items() if key != "reset_day"})
    if changes.get("reset_day", before.reset_day) != before.reset_day:
        after = after.with_reset_day(changes["reset_day"], now)
    _check_nodes(tables, after)
    differences = _differences(before, after)
    if not differences:
        return replace(user, account=before)
    charged = charge(after.without_old_alerts(), 0)  # a lower quota may be reached already
    tables.usage.set_account(charged.account)
    tables.audit.append(AuditEvent(now, actor, "user.set", user_id, detail=differences))
    notify(tables, user_id, charged.alerts, now)
    return replace(user, account=charged.account)


def reset_user(tables: Tables, actor: str, user_id: str, now: datetime) -> User:
    """Forgives what was used. What nodes have reported stays remembered, and what was booked stays booked."""
    user = get_user(tables, user_id)
    before = user.account.at(now)
    tables.usage.set_account(before.emptied())
    tables.audit.append(AuditEvent(now, actor, "user.reset", user_id, detail={"used_bytes": before.used_bytes}))
    return replace(user, account=before.emptied())


def _check_nodes(tables: Tables, account: Account) -> None:
    missing = tables.nodes.unknown(sorted(account.nodes))
    if missing:
        raise Refused(404, f"node {missing[0]} not found")


def _differences(before: Account, after: Account) -> dict[str, Any]:
    """``{field: [before, after]}`` in JSON's types."""
    return {
        field: [_plain(getattr(before, field)), _plain(getattr(after, field))]
        for field in CHANGEABLE
        if getattr(before, field) != getattr(after, field)
    }


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return text(value)
    return sorted(value) if isinstance(value, frozenset) else value
