"""Telling operators about users, once each; an alert is an event of the audit."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from server_stub.rules.accounts import Account
from server_stub.rules.alerts import EXPIRY_NOTICE, expiry_alerts
from server_stub.store.base import Tables
from server_stub.store.records import AuditEvent


def notify(tables: Tables, user_id: str, alerts: Iterable[str], now: datetime, node_id: str = "") -> None:
    """``alerts`` are keys; ``node_id`` is the node whose report led to them, if one did."""
    for alert in alerts:
        tables.audit.append(AuditEvent(now, "server", "proxy.user.notify", user_id, node_id, reason=alert))


def fire_expiry_alerts(tables: Tables, accounts: Iterable[Account], now: datetime) -> int:
    """Tells of those of the accounts that are about to expire or have; how many alerts that were."""
    fired = 0
    for account in accounts:
        due = expiry_alerts(account.expires_at, now, account.alerts) if account.enabled else ()
        if due:
            tables.usage.set_account(replace(account, alerts=account.alerts.union(due)))
            notify(tables, account.user_id, due, now)
            fired += len(due)
    return fired


def fire_all_expiry_alerts(tables: Tables, now: datetime) -> int:
    """The same for every user, whether or not a node reports traffic of theirs."""
    expiring = tables.usage.users_expiring(now + EXPIRY_NOTICE)
    return fire_expiry_alerts(tables, [user.account.at(now) for user in expiring], now)
