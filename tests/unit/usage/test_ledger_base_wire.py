"""Whatever happens in whatever order, an unmodified server bills what the core counted, within the declared bounds."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lattice_agent.usage import billing
from lattice_agent.usage.billing import Billing
from tests.unit.usage.world import Core, Node, Server

USERS = ("ann", "bob", "cid")
SOURCES = ("one", "two")
bytes_moved = st.integers(1, 1000)


class BaseWire(RuleBasedStateMachine):
    """Two cores, three users, one node, one server.

    ``due`` is what was moved while somebody was to be billed for it; ``slack`` what the declared bounds allow to be
    missing of it, and ``surplus`` what they allow to be too much, by user.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.boot = 0
        self.cores = {name: Core(self.now_s) for name in SOURCES}
        self.server = Server(set(USERS))
        self.node = Node()
        self.due: Counter[str] = Counter()
        self.slack: Counter[str] = Counter()
        self.surplus: Counter[str] = Counter()

    @initialize()
    def begins(self) -> None:
        for name, core in self.cores.items():
            self.node.read(name, core, self.boot_id, self.now_s)

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boot}"

    def truth(self) -> Counter[str]:
        return sum((core.truth for core in self.cores.values()), Counter())

    # --- what happens ---

    @rule(source=st.sampled_from(SOURCES), user=st.sampled_from(USERS), count=bytes_moved)
    def traffic(self, source: str, user: str, count: int) -> None:
        self.cores[source].move(user, count)
        if self.server.has_profile and user in self.server.users:
            self.due[user] += count

    @rule(seconds=st.floats(0.1, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(source=st.sampled_from(SOURCES))
    def reading(self, source: str) -> None:
        self.now_s += 2.0
        self.node.read(source, self.cores[source], self.boot_id, self.now_s)

    @rule(source=st.sampled_from(SOURCES), rested=st.booleans())
    def core_restarts(self, source: str, rested: bool) -> None:
        if rested:
            self.reading(source)
        else:
            self._forgive_unread(source)
        self.now_s += 1.5
        self.cores[source].restart(self.now_s)
        self.now_s += 2.5  # no two readings and a restart within a second

    @rule(source=st.sampled_from(SOURCES))
    def somebody_resets_the_counters(self, source: str) -> None:
        self._forgive_unread(source)
        core = self.cores[source]
        # Until the counters have passed what was read last, a reset cannot be told from traffic.
        book = self.node.books[source]
        self.slack.update({user: book.raw.get(user, 0) for user in USERS})
        core.counters = Counter()

    def _forgive_unread(self, source: str) -> None:
        """What was counted since the last reading is lost with the core."""
        self.slack.update(self.cores[source].unread)

    @rule()
    def the_machine_reboots(self) -> None:
        for source in SOURCES:
            self._forgive_unread(source)
        self.boot += 1
        self.now_s = 5.0
        for core in self.cores.values():
            core.restart(self.now_s)

    @rule(fate=st.sampled_from(["answered", "answered", "answered", "lost", "deaf", "unsent"]))
    def report(self, fate: str) -> None:
        self.node.exchange(self.server, fate)

    @rule(user=st.sampled_from(USERS))
    def user_removed(self, user: str) -> None:
        self.server.users.discard(user)

    @rule(user=st.sampled_from(USERS))
    def user_made(self, user: str) -> None:
        if user not in self.server.users:
            self.server.users.add(user)
            self._allow_what_was_not_told(user)

    @rule(has=st.booleans())
    def profile(self, has: bool) -> None:
        if has and not self.server.has_profile:
            for user in USERS:
                self._allow_what_was_not_told(user)
        self.server.has_profile = has

    def _allow_what_was_not_told(self, user: str) -> None:
        """What the next accepted report bills may begin before the user was one: a report interval, or, while a values
        report is on its way, what goes back to the last zero report."""
        known = self.node.billing
        told = (known.offsets if known.pending else known.billed).get(user, 0)
        totals = self.node.totals().get(user, 0) + sum(core.unread[user] for core in self.cores.values())
        self.surplus[user] += totals - told

    # --- what must hold ---

    @invariant()
    def nobody_is_billed_more_than_was_moved_for_him(self) -> None:
        truth = self.truth()
        for user in USERS:
            assert self.server.billed[user] <= min(truth[user], self.due[user] + self.surplus[user])

    def settle(self) -> None:
        for _ in range(6):
            self.node.exchange(self.server, "answered")


class Always(BaseWire):
    """Every user is one all the time and the profile is there: what is billed in the end is exact, within the slack."""

    user_removed = user_made = profile = None  # type: ignore[assignment]

    def teardown(self) -> None:
        for source in SOURCES:
            self.reading(source)
        self.settle()
        truth = self.truth()
        for user in USERS:
            assert truth[user] - self.slack[user] <= self.server.billed[user] <= truth[user]


class InParts(BaseWire):
    """A report holds two users of three."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(billing, "IDS_LIMIT", 2)

    def teardown(self) -> None:
        self.patch.undo()


class AlwaysInParts(Always):
    """The same, to the byte."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(billing, "IDS_LIMIT", 2)

    def teardown(self) -> None:
        super().teardown()
        self.patch.undo()


TestInParts = InParts.TestCase
TestInParts.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestAlwaysInParts = AlwaysInParts.TestCase
TestAlwaysInParts.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestBaseWire = BaseWire.TestCase
TestBaseWire.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestAlways = Always.TestCase
TestAlways.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


def test_a_new_ledger_begins_with_a_zero_report() -> None:
    assert Billing().zero_due
