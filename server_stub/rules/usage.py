"""How counters become bytes on a user's account (protocol reference 5.4, steps 5, 8 and 11).

A node reports counters that only grow while its proxy core runs. The difference to the node's stored snapshot is
added to each eligible user; the snapshot is then replaced by this one, eligible users only. The core's uptime is the
one signal of a restart: when it fell, every counter counts in full.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from server_stub.rules.accounts import Account, Billing, charge
from server_stub.rules.usage_report import UsageReport


@dataclass(frozen=True)
class Baseline:
    """The stored snapshot of a node."""

    core_uptime_sec: int
    counters: Mapping[str, int]


@dataclass(frozen=True)
class Settlement(Billing):
    """Everything one snapshot changes."""

    baseline: Baseline


def settle(
    report: UsageReport, node_id: str, accounts: Mapping[str, Account], baseline: Baseline | None
) -> Settlement | None:
    """``None`` for a report of health only: baseline and accounts stay as they are. ``accounts`` are those of now."""
    if report.counters is None:
        return None
    eligible = {
        user: value
        for user, value in report.counters.items()
        if user in accounts and accounts[user].is_eligible(node_id)
    }
    charges = (charge(accounts[user], delta) for user, delta in _deltas(report, eligible, baseline).items())
    ignored = report.ignored + len(report.counters) - len(eligible)
    return Settlement(tuple(charges), ignored, Baseline(report.core_uptime_sec, eligible))


def _deltas(report: UsageReport, counters: Mapping[str, int], baseline: Baseline | None) -> dict[str, int]:
    """The table of step 8; users without traffic are left out, but for the first report."""
    if baseline is None:
        return dict.fromkeys(counters, 0)
    if report.core_uptime_sec < baseline.core_uptime_sec:
        return {user: value for user, value in counters.items() if value > 0}
    grown = {user: value - baseline.counters.get(user, 0) for user, value in counters.items()}
    return {user: delta for user, delta in grown.items() if delta > 0}
