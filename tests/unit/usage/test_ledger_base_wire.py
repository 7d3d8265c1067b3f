"""Whatever happens in whatever order, an unmodified server bills what the core counted, within the declared bounds."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lattice_agent.usage import billing
from tests.rigs.extent import extent
from tests.unit.usage.world import Core, Node, Server

USERS = ("ann", "bob", "cid")
SOURCES = ("one", "two")
BEFORE_US = 5000
"""Bytes that the cores had counted of each user before the first reading: nobody's."""
FATES = ("answered", "answered", "answered", "lost", "deaf", "unsent", "twice")
"""Of a report: answered; the request lost; the answer lost; not sent at all; delivered twice in a row."""

bytes_moved = st.integers(1, 1000)
users, sources = st.sampled_from(USERS), st.sampled_from(SOURCES)


class BaseWire(RuleBasedStateMachine):
    """Two cores, three users, one node, one server.

    ``due`` is what was moved while somebody was to be billed for it; ``slack`` what the declared bounds allow to be
    missing of it, and ``surplus`` what they allow to be too much, by user. All three are kept by what really happens.
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
        self.reset: dict[str, Counter[str]] = {}
        """Counters as they were before somebody else reset them, until the next reading."""
        self.newer: Counter[str] = Counter()
        """Moved since the newest values report was composed."""
        self.untold: Counter[str] = Counter()
        """Moved since the values report that the server took last was composed."""
        self.unsettled: Counter[str] = Counter()
        """Moved since the server's snapshot was cleared last."""
        self.backup = self.server.backup()
        self.is_cleared_since = False
        """Whether a zero report was accepted since the backup."""
        self.due_at_backup: Counter[str] = Counter()
        self.untold_at_backup: Counter[str] = Counter()
        self.debt: Counter[str] = Counter()
        """What a restored server does not know, until a values report tells it: a zero report before that loses it."""
        self.is_restored_behind = False
        """Whether the snapshot is older than the last zero report, until a values report replaces it."""

    @initialize()
    def begins(self) -> None:
        for name, core in self.cores.items():
            core.counters.update(dict.fromkeys(USERS, BEFORE_US))
            self.node.read(name, core, self.boot_id, self.now_s)

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boot}"

    # --- what happens at the node ---

    @rule(source=sources, user=users, count=bytes_moved)
    def traffic(self, source: str, user: str, count: int) -> None:
        self.cores[source].move(user, count)
        self.newer[user] += count
        self.untold[user] += count
        self.unsettled[user] += count
        if self.server.has_profile and user in self.server.users:
            self.due[user] += count
            self.slack[user] += count if self.is_restored_behind else 0

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

    @rule(source=sources, hidden=st.frozensets(users))
    def a_core_leaves_users_out(self, source: str, hidden: frozenset[str]) -> None:
        core = self.cores[source]
        core.hidden = hidden
        self.reading(source)
        core.hidden = frozenset()
        self.reading(source)

    @rule(source=sources, rested=st.booleans())
    def core_restarts(self, source: str, rested: bool) -> None:
        if rested:
            self.reading(source)
        self.now_s += 1.5
        self._core_dies(source)
        self.now_s += 2.5

    def _core_dies(self, source: str) -> None:
        self.slack.update(self.cores[source].unread)
        self.reset.pop(source, None)
        self.cores[source].restart(self.now_s)

    @rule(source=sources)
    def somebody_resets_the_counters(self, source: str) -> None:
        self.reading(source)
        core = self.cores[source]
        self.reset[source] = core.counters
        core.reset()

    @rule()
    def the_machine_reboots(self) -> None:
        self.boot += 1
        self.now_s = 5.0
        for source in SOURCES:
            self._core_dies(source)

    # --- what happens on the way and at the server ---

    @rule(fate=st.sampled_from(FATES))
    def report(self, fate: str) -> None:
        if self.node.compose():
            self.newer = self._unread()
        if fate == "unsent":
            return
        values, was_pending = self.node.values(), self.node.billing.pending
        status, ignored = self.server.take(values) if fate != "lost" else (0, 0)
        if fate == "twice":
            status, ignored = self.server.take(values)
        if status == 200:
            self.slack.update(self.debt if was_pending is None else {})
            self.debt.clear()
            self.is_restored_behind = self.is_restored_behind and was_pending is None and self.server.snapshot != {}
            self.is_cleared_since |= was_pending is None
        if status == 200 and was_pending is not None:
            self.untold = self.newer.copy()
        if status == 400 and fate in ("answered", "twice") and not self.server.has_profile:
            self.untold = self._unread()
        if status == 200 and was_pending is None:
            self.unsettled = self.untold.copy()
        if fate in ("lost", "deaf"):
            self.node.unanswered()
            return
        if status == 400 and was_pending is not None and was_pending.maybe_arrived:
            # One values report after a refusal of unknown fate.
            self.slack.update({user: was_pending.totals.get(user, 0) for user in USERS})
        self.node.answered(status, ignored, no_profile=not self.server.has_profile)

    def _unread(self) -> Counter[str]:
        return sum((core.unread for core in self.cores.values()), Counter())

    @rule()
    def reports_get_through(self) -> None:
        for _ in range(3):
            self.report("answered")

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
        self.reports_get_through()
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

    @rule()
    def server_is_backed_up(self) -> None:
        self.backup, self.due_at_backup = self.server.backup(), self.due.copy()
        self.untold_at_backup = self.untold.copy()
        self.is_cleared_since = self.is_restored_behind

    @rule()
    def server_is_restored(self) -> None:
        self.debt = self.debt | (self.due - self.due_at_backup + self.untold_at_backup)
        if self.is_cleared_since:
            # What fell between backup and restore, and on until a values report replaces the snapshot.
            self.slack.update(self.debt)
            self.is_restored_behind = True
        self.server.restore(self.backup)

    @rule(refuses=st.booleans())
    def server_refuses(self, refuses: bool) -> None:
        self.server.refuses = refuses

    @rule(user=users, source=sources, count=bytes_moved)
    def an_unknown_fate_is_followed_by_a_refusal(self, user: str, source: str, count: int) -> None:
        self.traffic(source, user, count)
        self.reading(source)
        self.report("deaf")
        self.server.refuses = True
        self.report("answered")
        self.server.refuses = False
        self.reports_get_through()

    def _allow_what_was_not_told(self, user: str) -> None:
        """The next accepted report may begin before the user was one: one report interval, or, while it is not known
        whether a values report arrived, everything since the snapshot was cleared."""
        pending = self.node.billing.pending
        is_unknown = pending is not None and pending.maybe_arrived
        self.surplus[user] += (self.unsettled if is_unknown else self.untold)[user]

    # --- what must hold ---

    @invariant()
    def nobody_is_billed_more_than_was_moved_for_him(self) -> None:
        for user in USERS:
            truth = sum(core.truth[user] for core in self.cores.values())
            assert self.server.billed[user] <= min(truth, self.due[user] + self.surplus[user])

    def settle(self) -> None:
        self.server.refuses = False
        for source in SOURCES:
            self.reading(source)
        for _ in range(8):
            self.report("answered")


class Always(BaseWire):
    """Every user is one all the time and the profile is there: what is billed in the end is exact, within the slack."""

    user_removed = user_made = profile = user_comes_and_goes = None  # type: ignore[assignment]

    def teardown(self) -> None:
        self.settle()
        for user in USERS:
            assert self.due[user] - self.slack[user] <= self.server.billed[user] <= self.due[user]


class _SmallReports:
    """A report holds two users of three."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(billing, "IDS_LIMIT", 2)

    def teardown(self) -> None:
        super().teardown()  # type: ignore[misc]
        self.patch.undo()


class InParts(_SmallReports, BaseWire):
    pass


class AlwaysInParts(_SmallReports, Always):
    pass


MANY = settings(max_examples=extent(25, 200), stateful_step_count=40, deadline=None)
TestBaseWire, TestAlways = BaseWire.TestCase, Always.TestCase
TestInParts, TestAlwaysInParts = InParts.TestCase, AlwaysInParts.TestCase
TestBaseWire.settings = TestAlways.settings = TestInParts.settings = TestAlwaysInParts.settings = MANY
