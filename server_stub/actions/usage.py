"""Counting proxy traffic (protocol reference 5.4), and the profiles and users it is counted for."""

from datetime import datetime
from typing import Any

from lattice_agent.wire.usage import UsageAnswer, UsageSnapshot
from server_stub.errors import Refused
from server_stub.rules.usage import Account, Settlement, settle
from server_stub.rules.usage_report import UsageReport, check_report, is_id
from server_stub.store.base import Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Profile, User


def take_usage(tables: Tables, node_id: str, snapshot: UsageSnapshot, now: datetime) -> UsageAnswer:
    """Books one report; a ``Refused`` one changes nothing at all."""
    if tables.usage.profile(node_id) is None:
        raise Refused(400, f"proxy node profile {node_id} not found")
    report = check_report(snapshot, now)
    users = tables.usage.users(list(report.counters or {}))
    accounts = {user.account.user_id: user.account for user in users}
    settlement = settle(report, node_id, accounts, tables.usage.baseline(node_id))
    tables.usage.set_health(node_id, report.health, now)
    if settlement is not None:
        _book(tables, settlement, report, node_id, now)
    answer = _answer(report, settlement)
    detail: dict[str, Any] = answer.model_dump()
    tables.audit.append(
        AuditEvent(now, node_id, "proxy.usage.report", node_id, node_id, origin=BY_AGENT, detail=detail)
    )
    return answer


def _book(tables: Tables, settlement: Settlement, report: UsageReport, node_id: str, now: datetime) -> None:
    tables.usage.set_baseline(node_id, settlement.baseline, report.at)
    for charge in settlement.charges:
        tables.usage.charge(charge, node_id, report.at)
        for alert in charge.alerts:
            event = AuditEvent(now, "server", "proxy.user.notify", charge.user_id, node_id, reason=alert)
            tables.audit.append(event)


def _answer(report: UsageReport, settlement: Settlement | None) -> UsageAnswer:
    health = report.health
    return UsageAnswer(
        bytes_delta=settlement.bytes_delta if settlement else 0,
        users_updated=len(settlement.charges) if settlement else 0,
        users_ignored=settlement.ignored if settlement else 0,
        alerts_fired=settlement.alerts_fired if settlement else 0,
        collector_source=health.source if health else "",
        collector_status=health.status if health else "",
    )


def set_profile(tables: Tables, actor: str, node_id: str, now: datetime) -> Profile:
    """Makes the node one whose usage is counted; again is no change."""
    if tables.nodes.get(node_id) is None:
        raise Refused(404, f"node {node_id} not found")
    profile = tables.usage.profile(node_id)
    if profile is None:
        profile = Profile(node_id, now)
        tables.usage.add_profile(profile)
        tables.audit.append(AuditEvent(now, actor, "profile.set", node_id, node_id))
    return profile


def add_user(tables: Tables, actor: str, account: Account, name: str, now: datetime, max_users: int) -> User:
    """Registers a proxy user; counting starts with the next report."""
    if not is_id(account.user_id):
        raise Refused(400, "id must be 1 to 128 characters of A-Z a-z 0-9 _ . : -, the first a letter or digit")
    missing = tables.nodes.unknown(sorted(account.nodes))
    if missing:
        raise Refused(404, f"node {missing[0]} not found")
    if tables.usage.user(account.user_id) is not None:
        raise Refused(409, f"user {account.user_id} exists")
    if tables.usage.user_count() >= max_users:
        raise Refused(409, f"there are {max_users} users already")
    user = User(account, name or account.user_id, now)
    tables.usage.add_user(user)
    tables.audit.append(AuditEvent(now, actor, "user.add", account.user_id))
    return user
