"""A core, an agent and a server in values: what the ledger and the base wire's rules are tried on.

``Server`` is the unmodified server's rule (protocol reference 5.4), written from its table; ``Core`` counts as a proxy
core does, and remembers what nobody else knows: what was really moved; ``Node`` is the agent, or what is on its disk.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage import billing as base
from lattice_agent.usage.ledger import Moment, SourceBook, summed, take_reading
from lattice_agent.usage.normalise import Counters


@dataclass
class Core:
    """One proxy core. ``started_s`` is the monotonic time of its start; ``hidden`` users are missing in readings."""

    started_s: float = 0.0
    counters: Counter[str] = field(default_factory=Counter)
    truth: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    """Moved since the last reading that showed it."""
    hidden: frozenset[str] = frozenset()
    tells_uptime: bool = True

    def move(self, user: str, count: int) -> None:
        for counter in (self.counters, self.truth, self.unread):
            counter[user] += count

    def restart(self, now_s: float) -> None:
        self.counters = Counter()
        self.started_s = now_s

    def reset(self) -> None:
        """What a query with reset=true does: counters stay, and are 0."""
        self.counters = Counter(dict.fromkeys(self.counters, 0))

    def reading(self, now_s: float) -> Counters:
        shown = {user: count for user, count in self.counters.items() if user not in self.hidden}
        self.unread = Counter({user: count for user, count in self.unread.items() if user in self.hidden})
        uptime_s = max(1, int(now_s - self.started_s)) if self.tells_uptime else 0
        return Counters(shown, core_uptime_s=uptime_s, is_live=True)


@dataclass
class Server:
    """The unmodified server: eligible users, one snapshot of the node, and what was billed."""

    users: set[str] = field(default_factory=set)
    has_profile: bool = True
    refuses: bool = False
    """Answers 400 for a reason of its own."""
    snapshot: dict[str, int] | None = None
    billed: Counter[str] = field(default_factory=Counter)

    def take(self, values: Mapping[str, int]) -> tuple[int, int]:
        """Status and ``users_ignored``."""
        if self.refuses or not self.has_profile:
            return 400, 0
        eligible = {user: value for user, value in values.items() if user in self.users}
        for user, value in eligible.items():
            delta = 0 if self.snapshot is None else value - self.snapshot.get(user, 0)
            self.billed[user] += max(0, delta)
        self.snapshot = eligible
        return 200, len(values) - len(eligible)

    def backup(self) -> tuple[dict[str, int] | None, Counter[str]]:
        return self.snapshot, self.billed.copy()

    def restore(self, backup: tuple[dict[str, int] | None, Counter[str]]) -> None:
        self.snapshot, self.billed = backup[0], backup[1].copy()


@dataclass
class Node:
    """The agent. ``books`` and ``billing`` are what is on disk."""

    books: dict[str, SourceBook] = field(default_factory=dict)
    billing: base.Billing = field(default_factory=base.Billing)

    def read(self, source: str, core: Core, boot_id: str, now_s: float) -> None:
        before = self.books.get(source)
        try:
            self.books[source] = take_reading(self.books.get(source), core.reading(now_s), Moment(boot_id, now_s))
        except UsageSourceError:
            raise AssertionError("the core's counters are plausible") from None
        if self.books[source] is before:
            # A new run that shows what the old one did, uptime and all: it is entered as soon as anything differs.
            core.unread = core.counters.copy()

    def totals(self) -> dict[str, int]:
        return summed(self.books)

    def compose(self) -> bool:
        """Prepares what goes out next; whether it is a values report that was not there before."""
        if self.billing.pending is not None or (part := base.next_part(self.billing, self.totals())) is None:
            return False
        self.billing = base.with_pending(self.billing, part, b"")
        return True

    def values(self) -> dict[str, int]:
        """What is on its way; nothing in a zero report."""
        pending = self.billing.pending
        return {} if pending is None else base.values_of(self.billing, pending.totals)

    def unanswered(self) -> None:
        self.billing = base.unanswered(self.billing)

    def answered(self, status: int, ignored: int, *, no_profile: bool) -> None:
        if status != 200:
            self.billing = base.refused(self.billing, self.totals(), no_profile=no_profile)
        elif self.billing.pending is None:
            self.billing = base.zero_accepted(self.billing)
        else:
            self.billing = base.values_accepted(self.billing, ignored)
