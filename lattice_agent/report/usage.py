"""Reports proxy usage: to a server that keeps ledgers totals, to any other by the rules of ``usage.billing``.

Every step is decided by pure functions, and on disk before its first byte is sent or as soon as it is answered. One
report is on its way at a time.
"""

import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

import trio

from lattice_agent.complaints import Complaints
from lattice_agent.errors import StateError
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line, Reply
from lattice_agent.link.patience import Patience, spread
from lattice_agent.link.verdict import Kind
from lattice_agent.report.usage_readings import UsageReadings
from lattice_agent.usage import billing as base
from lattice_agent.usage import ledger_account as ledger
from lattice_agent.usage.books import UsageBooks
from lattice_agent.usage.messages import (
    Collector,
    health_report,
    ignored_users,
    ledger_report,
    says_no_profile,
    values_report,
    zero_report,
)
from lattice_agent.wire.ext import USAGE_LEDGER
from lattice_agent.wire.usage import LEDGER_PATH, MAX_LEDGER_IDS

log = logging.getLogger(__name__)

PATH: Final = "/api/agent/proxy-usage"
RETRY_BASE_S, RETRY_CAP_S = 2.0, 60.0
JITTER: Final = 0.05
EXCHANGES_LIMIT: Final = 64
"""Reports of one round; 65,536 users in parts of 4,096, each with its zero report, need half of it."""


class UsageService:
    """The service that reads and reports."""

    name = "proxy usage"

    def __init__(
        self,
        line: Line,
        features: Features,
        books: UsageBooks,
        readings: UsageReadings,
        *,
        node_id: str,
        interval_s: float,
        wall_now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._line = line
        self._features = features
        self._books = books
        self._readings = readings
        self._node_id = node_id
        self._interval_s = interval_s
        self._wall_now = wall_now
        self._rng = rng
        self._patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        self._refusal = ""
        self._complaints = Complaints(log)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read and report for ever."""
        await self._load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._readings.run)
            task_status.started()
            await self._readings.wait_first()
            delay_s = 0.0
            while True:
                await trio.sleep(delay_s)
                delay_s = await self._one_round()

    async def _load(self) -> None:
        while True:
            try:
                await self._books.load()
            except StateError as error:
                self._complaints.say(self.name, f"usage ledger: {error}; {error.hint()}")
                await trio.sleep(RETRY_CAP_S)
            else:
                self._complaints.over(self.name, "usage ledger: can be read")
                return

    async def _one_round(self) -> float:
        """Tells everything there is to tell; returns the seconds until the next round."""
        try:
            delay_s = await self._tell()
            self._complaints.over(self.name, "usage ledger: works again")
        except StateError as error:
            # Nothing is sent that is not on disk, and nothing on disk is lost.
            self._books.forget_fate()
            self._complaints.say(self.name, f"usage ledger: {error}; {error.hint()}")
            delay_s = RETRY_CAP_S
        return max(delay_s, spread(self._interval_s, JITTER, self._rng))

    async def _tell(self) -> float:
        if self._books.standing.billing.pending is not None and (delay_s := await self._send_pending()) > 0:
            return delay_s
        if all(health.problem for health in self._readings.health.values()):
            return await self._tell_health()
        if self._books.standing.account.is_used and not self._features.is_heard:
            return 0.0  # not yet: a change to the base wire would give up what an earlier life was telling
        wants_ledger = self._features.has(USAGE_LEDGER)
        if wants_ledger != self._books.standing.account.is_used:
            await self._change_way(to_ledger=wants_ledger)
        delay_s = await (self._tell_totals() if wants_ledger else self._tell_values())
        if delay_s == 0 and any(health.problem for health in self._readings.health.values()):
            return await self._tell_health()
        return delay_s

    async def _change_way(self, *, to_ledger: bool) -> None:
        standing = self._books.standing
        account, billing = (ledger.to_ledger if to_ledger else ledger.to_base)(standing.account, standing.billing)
        await self._books.set_standing(billing, account)

    # --- the base wire ---

    async def _tell_values(self) -> float:
        totals = self._books.totals()
        for _ in range(EXCHANGES_LIMIT):
            billing = self._books.standing.billing
            part = base.next_part(billing, totals)
            delay_s = await (self._send_part(part) if part else self._send_zero())
            if delay_s > 0 or (part is not None and (part.is_all or self._books.standing.billing.zero_due)):
                return delay_s
            if part is not None and not base.has_moved(self._books.standing.billing, totals):
                return 0.0
        return 0.0

    async def _send_part(self, part: base.Part) -> float:
        billing = self._books.standing.billing
        body = values_report(self._node_id, base.values_of(billing, part.totals), self._collector())
        if not base.has_moved(billing, part.totals):
            return await self._send_again(part, body)
        await self._books.set_standing(base.with_pending(billing, part, body))
        return await self._send_pending()

    async def _send_again(self, part: base.Part, body: bytes) -> float:
        """Values that the server has already, because the collector is well. They need not be on disk before: if the
        agent dies, nothing is owed. But while it is not known whether they arrived, nothing newer goes out."""
        reply = await self._line.post(PATH, body)
        if reply.ok:
            await self._books.set_standing(base.repeated(self._books.standing.billing, ignored_users(reply.answer)))
        elif reply.verdict.kind is Kind.REFUSED:
            await self._enter_refusal(reply)
        elif _may_have_arrived(reply):
            pending = base.with_pending(self._books.standing.billing, part, body)
            await self._books.set_standing(base.unanswered(pending))
        return self._patience.after(reply.verdict, self._rng)

    async def _send_zero(self) -> float:
        reply = await self._line.post(PATH, zero_report(self._node_id, self._collector()))
        if reply.ok:
            await self._books.set_standing(base.zero_accepted(self._books.standing.billing))
        elif reply.verdict.kind is Kind.REFUSED:
            await self._enter_refusal(reply)
        return self._patience.after(reply.verdict, self._rng)

    async def _send_pending(self) -> float:
        """Sends the values report on the way, once; returns how long to wait when it still is."""
        billing = self._books.standing.billing
        assert billing.pending is not None, "there is one"
        reply = await self._line.post(PATH, billing.pending.body)
        if reply.ok:
            await self._books.set_standing(base.values_accepted(billing, ignored_users(reply.answer)))
            self._refusal = ""
        elif reply.verdict.kind is Kind.REFUSED:
            await self._enter_refusal(reply)
        elif _may_have_arrived(reply):
            await self._books.set_standing(base.unanswered(billing))
        return self._patience.after(reply.verdict, self._rng)

    async def _enter_refusal(self, reply: Reply) -> None:
        missing = says_no_profile(reply.answer)
        billing = base.refused(self._books.standing.billing, self._books.totals(), no_profile=missing)
        await self._books.set_standing(billing)
        self._say_refused(reply)

    # --- the ledger ---

    async def _tell_totals(self) -> float:
        totals = self._books.totals()
        for _ in range(EXCHANGES_LIMIT):
            told = ledger.next_told(self._books.standing.billing, totals)
            delay_s = await self._send_totals(told)
            if delay_s > 0 or len(told) < MAX_LEDGER_IDS:
                return delay_s
        return 0.0

    async def _send_totals(self, told: dict[str, int]) -> float:
        """One ledger report; with nothing to tell it still says how the collector fares."""
        before = self._books.standing.account
        if told:
            await self._books.set_standing(self._books.standing.billing, ledger.telling(before, told))
        standing = self._books.standing
        totals = ledger.wire_totals(standing.account, standing.billing, told)
        seq = await self._books.next_seq() if told else 0
        body = ledger_report(self._node_id, standing.ledger_id, seq, totals, self._collector())
        reply = await self._line.post(LEDGER_PATH, body)
        if reply.ok:
            account, billing = ledger.accepted(standing.account, standing.billing, told)
            await self._books.set_standing(billing, account)
            self._refusal = ""
        elif reply.verdict.kind is Kind.REFUSED:
            await self._ledger_refused(reply, before)
        elif reply.never_sent:
            await self._books.set_standing(standing.billing, ledger.refused(standing.account, before))
        return self._patience.after(reply.verdict, self._rng)

    async def _ledger_refused(self, reply: Reply, before: ledger.LedgerAccount) -> None:
        self._say_refused(reply)
        billing = self._books.standing.billing
        account = ledger.refused(self._books.standing.account, before)
        if says_no_profile(reply.answer):
            account, billing = ledger.no_profile(account, billing, self._books.totals())
        await self._books.set_standing(billing, account)
        if not says_no_profile(reply.answer):
            self._features.withdraw(USAGE_LEDGER)  # the base wire says it in its way

    # --- health ---

    async def _tell_health(self) -> float:
        problems = [health.problem for health in self._readings.health.values() if health.problem]
        body = health_report(self._node_id, "; ".join(problems), self._collector())
        reply = await self._line.post(PATH, body)
        return self._patience.after(reply.verdict, self._rng)

    def _collector(self) -> Collector:
        read = [health.read_at for health in self._readings.health.values() if health.read_at is not None]
        return Collector(self._readings.collector_source(), max(read, default=self._wall_now()))

    def _say_refused(self, reply: Reply) -> None:
        if reply.verdict.text != self._refusal:
            self._refusal = reply.verdict.text
            log.warning("the control plane does not take proxy usage: %s", self._refusal)


def _may_have_arrived(reply: Reply) -> bool:
    return reply.verdict.kind in (Kind.UNREACHABLE, Kind.BROKEN) and not reply.never_sent
