"""How the totals of a ledger become bytes on users' accounts (docs/protocol.md, ``usage.ledger``).

A ledger's totals never fall, and its reports are numbered. For each node and ledger the server remembers the number of
the last report and the last total of every id in it, so a report adds what its totals have grown by. Nothing is billed
twice:

- A report whose number is not above the last one was counted already, or a later one was that holds all of it.
- Totals move for every id, also of those that are nobody here or are not counted on the node: whoever becomes a user,
  comes back, or is allowed on the node again is billed from then on, not for the past.
- Number, totals and accounts change in one transaction, so a server restored from a backup bills the difference to
  what it then knew, which is what the backup lacks.

``MAX_LEDGERS`` ledgers of a node are remembered. A node begins one only when it has lost its state; the one that has
not counted for longest is forgotten when there are more. Should a report of a forgotten ledger come after all, it is
taken for a new one: its totals count in full again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lattice_agent.wire.usage import LedgerReport, UsageLedger
from server_stub.errors import Refused
from server_stub.rules.accounts import Account, Billing, charge
from server_stub.rules.usage_report import Health, check_user_id, collector_health
from server_stub.times import in_utc

MAX_LEDGERS: Final = 8
"""Ledgers remembered of one node; above."""
MAX_IDS: Final = 65_536
"""Ids remembered of one ledger; a report that would bring more is refused as a whole."""
MAX_TOTAL: Final = 2**53
"""Bytes. Nobody transfers so much, and every JSON reader can tell the numbers up to here apart."""
_LEDGER_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class CheckedLedgerReport:
    """An acceptable report. ``ledger`` is ``None`` when it speaks of the collector's health only."""

    at: datetime
    ledger: UsageLedger | None
    health: Health | None


@dataclass(frozen=True)
class KnownLedger:
    """What is remembered of a ledger, as far as a report needs it."""

    seq: int
    totals: Mapping[str, int]
    """Of the ids in the report; who is absent was never reported."""
    ids: int
    """All that were ever reported, also those that the report leaves out."""


@dataclass(frozen=True)
class LedgerSettlement(Billing):
    """Everything one ledger report changes."""

    seq: int
    totals: Mapping[str, int]
    """To be remembered from now on; an id that is not here keeps its total."""
    ids: int


def check_ledger_report(report: LedgerReport, now: datetime) -> CheckedLedgerReport:
    """``Refused`` 400 when anything in it is not acceptable.

    Unlike a snapshot, a ledger may come together with a collector's error: totals never fall, so what the other sources
    of the node have counted is right.
    """
    health = collector_health(report)
    if report.ledger is not None:
        _check_ledger(report.ledger)
    return CheckedLedgerReport(in_utc(report.at) or now, report.ledger, health)


def _check_ledger(ledger: UsageLedger) -> None:
    if _LEDGER_ID.fullmatch(ledger.id) is None:
        raise Refused(400, "invalid usage ledger id: it must be 32 hex digits, lower case")
    if ledger.seq > MAX_TOTAL:
        raise Refused(400, f"usage ledger seq {ledger.seq} is above {MAX_TOTAL}")
    for user, total in ledger.totals.items():
        check_user_id(user)
        if total > MAX_TOTAL:
            raise Refused(400, f"proxy usage for {user} is above {MAX_TOTAL}")


def settle_ledger(
    ledger: UsageLedger, node_id: str, accounts: Mapping[str, Account], known: KnownLedger | None
) -> LedgerSettlement | None:
    """``None`` for a report that is late or came before: nothing changes. ``known`` is ``None`` for a new ledger.

    ``accounts`` are those of now, of the ids in the report. ``Refused`` 400 when the ledger gets too many ids.
    """
    known = known or KnownLedger(-1, {}, 0)
    if ledger.seq <= known.seq:
        return None
    ids = known.ids + sum(user not in known.totals for user in ledger.totals)
    if ids > MAX_IDS:
        raise Refused(400, f"the usage ledger has more than {MAX_IDS} user ids")
    grown = {user: total - known.totals.get(user, 0) for user, total in ledger.totals.items()}
    counted = [user for user in grown if user in accounts and accounts[user].is_eligible(node_id)]
    charges = tuple(charge(accounts[user], grown[user]) for user in counted if grown[user] > 0)
    return LedgerSettlement(charges, len(grown) - len(counted), ledger.seq, _moved(ledger, known), ids)


def _moved(ledger: UsageLedger, known: KnownLedger) -> dict[str, int]:
    """Totals that are new or higher; one that fell keeps its higher value, so that it is not billed twice."""
    return {user: total for user, total in ledger.totals.items() if total > known.totals.get(user, -1)}
