"""Everything that may happen to accounting at once, on a real store: whatever it was, nobody is billed more than was
transferred, who was counted all along is billed all of it, and bookings say the same."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lattice_agent.wire.usage import LedgerReport, UsageLedger
from server_stub.actions.registry import add_node
from server_stub.actions.usage import take_ledger
from server_stub.actions.users import add_user, change_user, reset_user, set_profile
from server_stub.rules.accounts import Account
from server_stub.rules.billing_calendar import Span
from server_stub.store.base import Tables
from server_stub.store.records import BookingQuery
from server_stub.store.sqlite import SqliteStore
from tests.rigs.extent import extent

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
USERS = ("alice", "bob", "carol", "stranger")
ledgers = st.sampled_from(["1" * 32, "2" * 32, "3" * 32])


class Accounting(RuleBasedStateMachine):
    """One node with up to three ledgers. alice is always counted, bob now and then, carol is made late."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SqliteStore(":memory:")
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.totals: dict[str, dict[str, int]] = {}
        self.sent: list[UsageLedger] = []
        self.backup: sqlite3.Connection | None = None
        self.has_carol = False

    @initialize()
    def begin(self) -> None:
        def work(tables: Tables) -> None:
            for node in ("n1", "n2"):
                add_node(tables, "op", node, "", node, self.now, 9)
            set_profile(tables, "op", "n1", self.now)
            add_user(tables, "op", Account("alice", quota_bytes=50, reset_day=2), "", self.now, 9)
            add_user(tables, "op", Account("bob"), "", self.now, 9)

        self.store.write(work)

    @rule(
        ledger=ledgers, grown=st.dictionaries(st.sampled_from(USERS), st.integers(0, 40)), minutes=st.integers(0, 300)
    )
    def traffic(self, ledger: str, grown: dict[str, int], minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        totals = self.totals.setdefault(ledger, {})
        for user, count in grown.items():
            totals[user] = totals.get(user, 0) + count

    @rule(ledger=ledgers, arrives=st.booleans(), left_out=st.sets(st.sampled_from(USERS)))
    def report(self, ledger: str, arrives: bool, left_out: set[str]) -> None:
        totals = {user: total for user, total in self.totals.get(ledger, {}).items() if user not in left_out}
        self.sent.append(UsageLedger(id=ledger, seq=len(self.sent), totals=totals))
        if arrives:
            self.deliver(self.sent[-1])

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def something_old_arrives(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.sent)))

    @rule(nodes=st.sampled_from([frozenset(), frozenset({"n2"})]), enabled=st.booleans())
    def bob_is_changed(self, nodes: frozenset[str], enabled: bool) -> None:
        changes: dict[str, Any] = {"nodes": nodes, "enabled": enabled}
        self.store.write(lambda tables: change_user(tables, "op", "bob", changes, self.now))

    @precondition(lambda self: not self.has_carol)
    @rule()
    def carol_is_made(self) -> None:
        self.has_carol = True
        self.store.write(lambda tables: add_user(tables, "op", Account("carol"), "", self.now, 9))

    @rule(user=st.sampled_from(["alice", "bob"]))
    def forgiven(self, user: str) -> None:
        self.store.write(lambda tables: reset_user(tables, "op", user, self.now))

    @rule()
    def backed_up(self) -> None:
        self.backup = sqlite3.connect(":memory:")
        self.store._connection.backup(self.backup)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restored(self) -> None:
        assert self.backup is not None
        self.backup.backup(self.store._connection)
        self.has_carol = "carol" in self.billed()

    @invariant()
    def nobody_is_billed_more_than_was_transferred(self) -> None:
        for user, billed in self.billed().items():
            assert billed <= self.truth(user)

    @invariant()
    def bookings_add_up_to_what_was_billed(self) -> None:
        for span in Span:
            found = self.store.read(
                lambda tables, span=span: tables.bookings.find(BookingQuery(span, LONG_AGO), 10_000)
            )  # type: ignore[misc]
            for user, billed in self.billed().items():
                assert billed == sum(one.bytes for one in found if one.user_id == user)

    def teardown(self) -> None:
        for ledger in self.totals:
            self.report(ledger, True, set())
        self.nobody_is_billed_more_than_was_transferred()
        if self.totals:
            assert self.billed()["alice"] == self.truth("alice")
        self.store.close()
        if self.backup is not None:
            self.backup.close()

    def deliver(self, ledger: UsageLedger) -> None:
        report = LedgerReport(ledger=ledger)
        self.store.write(lambda tables: take_ledger(tables, "n1", report, self.now))

    def billed(self) -> dict[str, int]:
        users = self.store.read(lambda tables: tables.usage.users())
        return {user.account.user_id: sum(user.per_node.values()) for user in users}

    def truth(self, user: str) -> int:
        return sum(totals.get(user, 0) for totals in self.totals.values())


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=extent(15, 60), stateful_step_count=30, deadline=None)
