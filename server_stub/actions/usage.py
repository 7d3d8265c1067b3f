"""Taking reports of proxy traffic: snapshots (protocol reference 5.4) and ledgers (docs/protocol.md).

Spans are booked by the server's clock at the moment a report is taken. A node's own time would let a node with a wrong
clock, or a report that waited for the network, write into a month that was billed already.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from lattice_agent.wire.usage import LedgerReport, UsageAnswer, UsageSnapshot
from server_stub.actions.alerts import fire_expiry_alerts, notify
from server_stub.errors import Refused
from server_stub.rules.accounts import Account, Billing, Charge
from server_stub.rules.billing_calendar import Span, start_of
from server_stub.rules.usage import settle
from server_stub.rules.usage_ledger import check_ledger_report, settle_ledger
from server_stub.rules.usage_report import Health, check_report
from server_stub.store.base import Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Booking

NOTHING: Final = Billing((), 0)


def take_usage(tables: Tables, node_id: str, snapshot: UsageSnapshot, now: datetime) -> UsageAnswer:
    """Books one snapshot; a ``Refused`` one changes nothing at all."""
    _require_profile(tables, node_id)
    report = check_report(snapshot, now)
    accounts = _accounts(tables, report.counters or {}, now)
    settlement = settle(report, node_id, accounts, tables.usage.baseline(node_id))
    tables.usage.set_health(node_id, report.health, now)
    if settlement is not None:
        tables.usage.set_baseline(node_id, settlement.baseline, report.at)
    fired = _book(tables, settlement or NOTHING, accounts, node_id, report.at, now)
    return _audited(tables, settlement or NOTHING, fired, report.health, node_id, now)


def take_ledger(tables: Tables, node_id: str, sent: LedgerReport, now: datetime) -> UsageAnswer:
    """Books what the totals have grown by. A late or repeated report is taken and changes nothing, not even the
    collector's health, of which it may tell an older state."""
    _require_profile(tables, node_id)
    report = check_ledger_report(sent, now)
    if report.ledger is None:
        tables.usage.set_health(node_id, report.health, now)
        return _audited(tables, NOTHING, 0, report.health, node_id, now)
    ledger = report.ledger
    accounts = _accounts(tables, ledger.totals, now)
    settlement = settle_ledger(ledger, node_id, accounts, tables.ledgers.known(node_id, ledger.id, ledger.totals))
    if settlement is None:
        return _audited(tables, NOTHING, 0, report.health, node_id, now, f"seq {ledger.seq} was counted before")
    tables.usage.set_health(node_id, report.health, now)
    tables.ledgers.remember(node_id, ledger.id, settlement.seq, settlement.totals, settlement.ids)
    fired = _book(tables, settlement, accounts, node_id, report.at, now)
    return _audited(tables, settlement, fired, report.health, node_id, now)


def _require_profile(tables: Tables, node_id: str) -> None:
    if tables.usage.profile(node_id) is None:
        raise Refused(400, f"proxy node profile {node_id} not found")


def _accounts(tables: Tables, user_ids: Iterable[str], now: datetime) -> dict[str, Account]:
    """Of those ids that are users, as they are now."""
    return {user.account.user_id: user.account.at(now) for user in tables.usage.users(list(user_ids))}


def _book(
    tables: Tables, billing: Billing, accounts: Mapping[str, Account], node_id: str, seen_at: datetime, now: datetime
) -> int:
    """Everything a report does to accounts; how many alerts it fired."""
    for charge in billing.charges:
        tables.usage.set_account(charge.account, seen_at)
        if charge.delta:
            tables.usage.add_bytes(charge.user_id, node_id, charge.delta)
        notify(tables, charge.user_id, charge.alerts, now, node_id)
    tables.bookings.add(_bookings(billing.charges, node_id, now), now)
    current = {**accounts, **{charge.user_id: charge.account for charge in billing.charges}}
    return billing.alerts_fired + fire_expiry_alerts(tables, current.values(), now)


def _bookings(charges: Iterable[Charge], node_id: str, now: datetime) -> list[Booking]:
    return [
        Booking(span, start_of(span, now, charge.account.reset_day), charge.user_id, node_id, charge.delta)
        for charge in charges
        if charge.delta
        for span in Span
    ]


def _audited(
    tables: Tables, billing: Billing, fired: int, health: Health | None, node_id: str, now: datetime, reason: str = ""
) -> UsageAnswer:
    """What goes back, once it is in the audit (step 12)."""
    answer = UsageAnswer(
        bytes_delta=billing.bytes_delta,
        users_updated=len(billing.charges),
        users_ignored=billing.ignored,
        alerts_fired=fired,
        collector_source=health.source if health else "",
        collector_status=health.status if health else "",
    )
    detail: dict[str, Any] = answer.model_dump()
    what = ("proxy.usage.report", node_id, node_id)
    tables.audit.append(AuditEvent(now, node_id, *what, reason=reason, origin=BY_AGENT, detail=detail))
    return answer
