"""What a server that keeps ledgers is told (pure; docs/protocol.md, ``usage.ledger``).

A ledger report carries totals that never fall, so it may be lost, repeated or late without harm. What is told of a user
is what the server took last, and what has not been billed since by any way: that keeps it right when the server changes
between this and the base wire (``usage.billing``), with which it shares ``billed``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lattice_agent.usage.billing import Billing
from lattice_agent.usage.ledger import LINE_SEPARATOR, user_of
from lattice_agent.wire.usage import MAX_LEDGER_IDS


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """``taken`` are the totals that the server took last. ``told`` are our totals of which it is not known whether they
    were taken, of every report that got no answer. ``is_used``: the last report went this way."""

    taken: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)
    is_used: bool = False


def next_told(billing: Billing, totals: Mapping[str, int]) -> dict[str, int]:
    """Our totals of the keys that have moved since they were billed, of as many users as one report holds."""
    billed = billing.billed
    moved = {key: total for key, total in totals.items() if total > billed.get(key, 0)}
    users = sorted(key for key in moved if LINE_SEPARATOR not in key)
    if len(users) <= MAX_LEDGER_IDS:
        return moved
    fitting = frozenset(users[:MAX_LEDGER_IDS])
    return {key: total for key, total in moved.items() if user_of(key) in fitting}


def telling(account: LedgerAccount, told: Mapping[str, int]) -> LedgerAccount:
    """Before the first byte of a report is sent."""
    return replace(account, told={**account.told, **told})


def wire_totals(account: LedgerAccount, billing: Billing, told: Mapping[str, int]) -> dict[str, int]:
    """What goes over the wire for them: users only; such a server does not split by line."""
    users = {key: total for key, total in told.items() if LINE_SEPARATOR not in key}
    return {user: account.taken.get(user, 0) + total - billing.billed.get(user, 0) for user, total in users.items()}


def accepted(account: LedgerAccount, billing: Billing, told: Mapping[str, int]) -> tuple[LedgerAccount, Billing]:
    """The server took ``told``."""
    taken = {**account.taken, **wire_totals(account, billing, told)}
    billed = {**billing.billed, **told}
    unknown = {key: total for key, total in account.told.items() if total > billed.get(key, 0)}
    return replace(account, taken=taken, told=unknown), replace(billing, billed=billed)


def refused(account: LedgerAccount, before: LedgerAccount) -> LedgerAccount:
    """The server certainly did not take the last report; what is known of those before it is in ``before``."""
    return replace(account, told=before.told)


def no_profile(account: LedgerAccount, billing: Billing, totals: Mapping[str, int]) -> tuple[LedgerAccount, Billing]:
    """The server counts nothing for the node: what was moved until now is nobody's."""
    return replace(account, told={}), replace(billing, billed=dict(totals))


def to_ledger(account: LedgerAccount, billing: Billing) -> tuple[LedgerAccount, Billing]:
    """From now on totals are told. The base wire's snapshot gets old: it is cleared when that way is back, and offsets
    are made anew then."""
    return replace(account, is_used=True), replace(billing, zero_due=True, offsets={}, baseline=frozenset())


def to_base(account: LedgerAccount, billing: Billing) -> tuple[LedgerAccount, Billing]:
    """From now on values are told. What may have been taken counts as taken: less, rather than twice. If it was not,
    the next ledger report brings it."""
    account, billing = accepted(account, billing, account.told)
    return replace(account, is_used=False), replace(billing, zero_due=True)
