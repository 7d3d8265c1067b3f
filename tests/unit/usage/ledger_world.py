"""What ``world`` is for the base wire, for ledgers: an agent that tells totals, and the rules of ``server_stub``."""

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from lattice_agent.usage import billing as base
from lattice_agent.usage import ledger_account as way
from lattice_agent.usage.ledger_account import LedgerAccount
from lattice_agent.wire.usage import LedgerReport, UsageLedger
from server_stub.errors import Refused
from server_stub.rules.accounts import Account, Billing
from server_stub.rules.usage import Baseline, settle
from server_stub.rules.usage_ledger import KnownLedger, check_ledger_report, settle_ledger
from server_stub.rules.usage_report import UsageReport
from tests.unit.usage.world import Node

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SEQ_BLOCK = 1_000


@dataclass(frozen=True)
class Stored:
    """What is in the server's database, and so in a backup of it. ``billed`` and ``by_snapshot`` are bytes by user."""

    baseline: Baseline | None = None
    ledgers: Mapping[str, KnownLedger] = field(default_factory=dict)
    billed: Counter[str] = field(default_factory=Counter)
    by_snapshot: Counter[str] = field(default_factory=Counter)
    """Of ``billed`` what came over the base wire."""


@dataclass
class StubServer:
    """The rules of ``server_stub`` over values. ``users`` are those who are counted on the node."""

    users: set[str] = field(default_factory=set)
    has_profile: bool = True
    refuses: bool = False
    """Answers 400 for a reason of its own."""
    stored: Stored = field(default_factory=Stored)

    @property
    def billed(self) -> Counter[str]:
        return self.stored.billed

    def take(self, values: Mapping[str, int]) -> tuple[int, int]:
        """A snapshot; status and ``users_ignored``."""
        if self.refuses or not self.has_profile:
            return 400, 0
        settlement = settle(UsageReport(NOW, 0, values, 0, None), "node-1", self._accounts(), self.stored.baseline)
        assert settlement is not None, "it has counters"
        self.stored = replace(self.stored, baseline=settlement.baseline)
        self.stored.by_snapshot.update(self._charge(settlement))
        return 200, settlement.ignored

    def take_ledger(self, ledger: UsageLedger) -> int:
        """A ledger report; the status."""
        if self.refuses or not self.has_profile:
            return 400
        known = self.stored.ledgers.get(ledger.id)
        try:
            check_ledger_report(LedgerReport(ledger=ledger), NOW)
            settlement = settle_ledger(ledger, "node-1", self._accounts(), known)
        except Refused as refusal:
            return refusal.status
        if settlement is not None:
            totals = {**(known.totals if known else {}), **settlement.totals}
            ledgers = {**self.stored.ledgers, ledger.id: KnownLedger(settlement.seq, totals, settlement.ids)}
            self.stored = replace(self.stored, ledgers=ledgers)
            self._charge(settlement)
        return 200

    def _accounts(self) -> dict[str, Account]:
        return {user: Account(user) for user in self.users}

    def _charge(self, billing: Billing) -> dict[str, int]:
        charged = {charge.user_id: charge.delta for charge in billing.charges}
        self.stored.billed.update(charged)
        return charged

    def backup(self) -> Stored:
        return deepcopy(self.stored)

    def restore(self, backup: Stored) -> None:
        self.stored = deepcopy(backup)


@dataclass(frozen=True)
class Sent:
    """A ledger report on its way: what it tells of our totals, and what was known before it."""

    ledger: UsageLedger
    told: Mapping[str, int]
    before: LedgerAccount


@dataclass
class LedgerNode(Node):
    """An agent that uses ledgers when they are announced."""

    number: int = 0
    """Of its ledger; another after the loss of its state."""
    account: LedgerAccount = field(default_factory=LedgerAccount)
    seq: int = 0

    def choose_way(self, *, announced: bool) -> None:
        if announced != self.account.is_used:
            change = way.to_ledger if announced else way.to_base
            self.account, self.billing = change(self.account, self.billing)

    def compose_totals(self) -> Sent | None:
        """What is on disk before the first byte of a report is sent; ``None`` with nothing to tell."""
        told = way.next_told(self.billing, self.totals())
        if not told:
            return None
        before = self.account
        self.account = way.telling(before, told)
        self.seq += 1
        totals = way.wire_totals(self.account, self.billing, told)
        return Sent(UsageLedger(id=f"{self.number:032x}", seq=self.seq, totals=totals), told, before)

    def totals_answered(self, sent: Sent, status: int, *, no_profile: bool) -> None:
        if status == 200:
            self.account, self.billing = way.accepted(self.account, self.billing, sent.told)
            return
        self.account = way.refused(self.account, sent.before)
        if no_profile:
            self.account, self.billing = way.no_profile(self.account, self.billing, self.totals())

    def starts_again(self) -> None:
        """After a death: what ``UsageBooks.load`` makes of what is on disk."""
        self.billing = base.unanswered(self.billing)
        self.seq = (self.seq // SEQ_BLOCK + 1) * SEQ_BLOCK
