"""Whatever happens in whatever order, ``server_stub`` bills what the core counted: never more, and less only by a bound
that is declared: for the death of a core, a foreign reset, a lost state, and what the base wire cannot tell."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lattice_agent.usage import billing, ledger_account
from tests.rigs.extent import extent
from tests.unit.usage.ledger_world import LedgerNode, Sent, Stored, StubServer
from tests.unit.usage.world import Core

USERS = ("ann", "bob", "cid")
SOURCES = ("one", "two")
BEFORE_US = 5000
"""Bytes that the cores had counted of each user before the first reading: nobody's."""
FATES = ("answered", "answered", "answered", "lost", "deaf", "unsent", "twice")
"""Of a report: answered; the request lost; the answer lost; not sent at all; delivered twice, answered once."""
LATE_LIMIT = 8
"""Reports that something in the network keeps."""

bytes_moved = st.integers(1, 1000)
users, sources, fates = st.sampled_from(USERS), st.sampled_from(SOURCES), st.sampled_from(FATES)


class Ledgers(RuleBasedStateMachine):
    """Two cores, three users, one node, and a server that announces ``usage.ledger`` all the time.

    ``due`` is what was moved while somebody was to be billed for it; ``slack`` and ``surplus`` what the bounds allow to
    be missing of it, or too much. ``known`` is the part of the truth that the server has been told, by user.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.boot = 0
        self.announced = True
        self.cores = {name: Core(self.now_s) for name in SOURCES}
        self.server = StubServer(set(USERS))
        self.node = LedgerNode()
        self.due: Counter[str] = Counter()
        self.slack: Counter[str] = Counter()
        self.surplus: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.reset: dict[str, Counter[str]] = {}
        """Counters as they were before somebody else reset them, until the next reading."""
        self.late: list[tuple[Sent, Counter[str]]] = []
        self.backup: tuple[Stored, Counter[str], int] = (self.server.backup(), Counter(), 0)
        """The server's database, what it had been told, and the ledger that told it."""

    @initialize()
    def begins(self) -> None:
        for core in self.cores.values():
            core.counters.update(dict.fromkeys(USERS, BEFORE_US))
        self._read_all()

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boot}"

    def truth(self, user: str) -> int:
        return sum(core.truth[user] for core in self.cores.values())

    def _read_all(self) -> None:
        for name, core in self.cores.items():
            self.node.read(name, core, self.boot_id, self.now_s)

    # --- what happens at the node ---

    @rule(source=sources, user=users, count=bytes_moved)
    def traffic(self, source: str, user: str, count: int) -> None:
        self.cores[source].move(user, count)
        if self.server.has_profile and user in self.server.users:
            self.due[user] += count

    @rule(seconds=st.floats(0.1, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(source=sources)
    def reading(self, source: str) -> None:
        self.now_s += 2.0
        core = self.cores[source]
        for user, before in self.reset.pop(source, Counter()).items():
            # A counter that has passed its old value again cannot be told from one that was not reset.
            self.slack[user] += before if core.counters[user] >= before else 0
        self.node.read(source, core, self.boot_id, self.now_s)

    @rule(source=sources, rested=st.booleans(), age_s=st.floats(0.1, 5), user=users, count=st.integers(0, 9000))
    def core_restarts(self, source: str, rested: bool, age_s: float, user: str, count: int) -> None:
        if rested:
            self.reading(source)
        self.now_s += 4.0  # whole seconds cannot tell two runs apart that are both younger
        self._core_dies(source)
        self.now_s += age_s
        self.traffic(source, user, count)
        self.node.read(source, self.cores[source], self.boot_id, self.now_s)

    def _core_dies(self, source: str) -> None:
        self.slack.update(self.cores[source].unread)
        self.cores[source].unread.clear()
        self.reset.pop(source, None)
        self.cores[source].restart(self.now_s)

    @rule(source=sources)
    def somebody_resets_the_counters(self, source: str) -> None:
        self.reading(source)
        self.reset[source] = self.cores[source].counters
        self.cores[source].reset()

    @rule()
    def the_machine_reboots(self) -> None:
        self.boot += 1
        self.now_s = 5.0
        for source in SOURCES:
            self._core_dies(source)
        self.node.starts_again()

    @rule()
    def agent_restarts(self) -> None:
        self.node.starts_again()

    @rule()
    def agent_loses_its_state(self) -> None:
        for user in USERS:
            self.slack[user] += self.truth(user) - self.known[user]
        self.node = LedgerNode(number=self.node.number + 1)
        self.reset.clear()
        self._read_all()

    # --- what happens on the way ---

    @rule(fate=fates)
    def report(self, fate: str) -> None:
        self.node.choose_way(announced=self.announced)
        sent = self.node.compose_totals()
        if sent is None or fate == "unsent":
            return
        covers = self._told_truth(sent)
        self.late = [*self.late[1 - LATE_LIMIT :], (sent, covers)]
        if fate == "lost":
            return
        status = self._deliver(sent, covers)
        if fate == "twice":
            assert self._deliver(sent, covers) == status
        if fate != "deaf":
            self.node.totals_answered(sent, status, no_profile=not self.server.has_profile)

    def _told_truth(self, sent: Sent) -> Counter[str]:
        unread = sum((core.unread for core in self.cores.values()), Counter())
        return Counter({user: self.truth(user) - unread[user] for user in sent.told})

    def _deliver(self, sent: Sent, covers: Counter[str]) -> int:
        before = self.server.stored.ledgers
        status = self.server.take_ledger(sent.ledger)
        if self.server.stored.ledgers is not before:
            self.known |= covers
        return status

    @rule(index=st.integers(0, LATE_LIMIT - 1))
    def a_report_comes_late(self, index: int) -> None:
        if index < len(self.late):
            self._deliver(*self.late[index])

    @rule()
    def reports_get_through(self) -> None:
        for _ in range(3):
            self.report("answered")

    # --- what happens at the server ---

    @rule(user=users)
    def user_removed(self, user: str) -> None:
        self.server.users.discard(user)

    @rule(user=users)
    def user_made(self, user: str) -> None:
        if user not in self.server.users:
            self.server.users.add(user)
            self._allow_what_was_not_told(user)

    @rule(user=users, source=sources, count=bytes_moved)
    def user_comes_and_goes(self, user: str, source: str, count: int) -> None:
        self.user_removed(user)
        self.traffic(source, user, count)
        self.reading(source)
        self.reports_get_through()
        self.user_made(user)

    @rule(has=st.booleans())
    def profile(self, has: bool) -> None:
        if has and not self.server.has_profile:
            for user in USERS:
                self._allow_what_was_not_told(user)
        self.server.has_profile = has

    def _allow_what_was_not_told(self, user: str) -> None:
        """The report that comes next may begin before the user was one."""
        self.surplus[user] += self.truth(user) - self.known[user]

    @rule()
    def server_is_backed_up(self) -> None:
        self.backup = self.server.backup(), self.known.copy(), self.node.number

    @rule()
    def server_is_restored(self) -> None:
        stored, known, number = self.backup
        for user in USERS:
            # Who was nobody between backup and restore was told then; that is forgotten.
            self.surplus[user] += self.truth(user) - known[user]
            # A ledger that ended meanwhile is not told of again.
            self.slack[user] += self.truth(user) - known[user] if number != self.node.number else 0
        self.server.restore(stored)
        self.known = known.copy()

    # --- what must hold ---

    @invariant()
    def nobody_is_billed_more_than_was_moved_for_him(self) -> None:
        for user in USERS:
            assert self.server.billed[user] <= min(self.truth(user), self.due[user] + self.surplus[user])

    def settle(self) -> None:
        """Everybody moves a byte, and everything gets through: only who moves is told of again after a restore."""
        self.announced, self.server.refuses = True, False
        for user in USERS:
            self.traffic("one", user, 1)
        for source in SOURCES:
            self.reading(source)
        for _ in range(8):
            self.report("answered")


class AlwaysCounted(Ledgers):
    """Everybody is a user all the time and the profile is there: the end is exact, within the slack."""

    user_removed = user_made = profile = user_comes_and_goes = None  # type: ignore[assignment]

    def teardown(self) -> None:
        self.settle()
        for user in USERS:
            assert self.due[user] - self.slack[user] <= self.server.billed[user] <= self.due[user]


class ComesAndGoes(AlwaysCounted):
    """The server announces ledgers and does not, so the wire changes under way, in the middle of whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.is_restored_loosely = False

    @rule(announced=st.booleans())
    def announcement(self, announced: bool) -> None:
        self.announced = announced

    @rule(fate=fates, refuses=st.booleans())
    def report(self, fate: str, refuses: bool = False) -> None:
        self.server.refuses = refuses
        if self.node.billing.pending is not None:
            self._snapshot(fate)
        if self.node.billing.pending is None:
            self.node.choose_way(announced=self.announced)
            if self.announced:
                super().report(fate)
            else:
                self.node.compose()
                self._snapshot(fate)
        self.server.refuses = False

    @rule(user=users, other=users, source=sources, count=bytes_moved)
    def the_wire_changes_while_it_is_not_known_what_arrived(
        self, user: str, other: str, source: str, count: int
    ) -> None:
        self.announced = True
        for mover in (user, other):
            self.traffic(source, mover, count)
            self.reading(source)
            self.report("deaf")
        self.announced = False
        self.reports_get_through()

    def _snapshot(self, fate: str) -> None:
        if fate == "unsent":
            return
        values, was_pending = self.node.values(), self.node.billing.pending
        status, ignored = self.server.take(values) if fate != "lost" else (0, 0)
        if fate == "twice":
            self.server.take(values)
        if fate in ("lost", "deaf"):
            self.node.unanswered()
            return
        if status == 400 and was_pending is not None and was_pending.maybe_arrived:
            # One values report after a refusal of unknown fate.
            self.slack.update({user: was_pending.totals.get(user, 0) for user in USERS})
        if status == 200 and was_pending is not None:
            self.is_restored_loosely = False
        self.node.answered(status, ignored, no_profile=False)

    def _told_truth(self, sent: Sent) -> Counter[str]:
        return Counter()  # ``known`` stays empty: what a lost state may cost is not held exactly here

    @rule(source=sources, user=users, count=bytes_moved)
    def traffic(self, source: str, user: str, count: int) -> None:
        super().traffic(source, user, count)
        self.slack[user] += count if self.is_restored_loosely else 0

    @rule()
    def server_is_restored(self) -> None:
        stored, _, number = self.backup
        is_over_base = self.server.stored.by_snapshot != stored.by_snapshot or not self.node.account.is_used
        if is_over_base or number != self.node.number:
            for user in USERS:
                self.slack[user] += self.truth(user) - stored.billed[user]
            self.is_restored_loosely = True
        self.server.restore(stored)


class _SmallReports:
    """A report holds two users of three."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(billing, "IDS_LIMIT", 2)
        self.patch.setattr(ledger_account, "MAX_LEDGER_IDS", 2)

    def teardown(self) -> None:
        super().teardown()  # type: ignore[misc]
        self.patch.undo()


class LedgersInParts(_SmallReports, Ledgers):
    pass


class AlwaysCountedInParts(_SmallReports, AlwaysCounted):
    pass


class ComesAndGoesInParts(_SmallReports, ComesAndGoes):
    pass


MANY = settings(max_examples=extent(20, 150), stateful_step_count=40, deadline=None)
MACHINES = Ledgers, AlwaysCounted, ComesAndGoes, LedgersInParts, AlwaysCountedInParts, ComesAndGoesInParts
TestLedgers, TestAlwaysCounted, TestComesAndGoes = Ledgers.TestCase, AlwaysCounted.TestCase, ComesAndGoes.TestCase
TestLedgersInParts, TestAlwaysCountedInParts = LedgersInParts.TestCase, AlwaysCountedInParts.TestCase
TestComesAndGoesInParts = ComesAndGoesInParts.TestCase
for machine in MACHINES:
    machine.TestCase.settings = MANY
