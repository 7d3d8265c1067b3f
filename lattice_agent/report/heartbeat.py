"""Hello once, then the heartbeat for ever: the only calls that keep the node online (protocol reference 1.1-1.3).

The heartbeat has its own connection lane and its own task: nothing that a script or another report does delays it.
Hello is retried in parallel and never fatal; the heartbeat does not wait for it. Facts are sampled in a thread with
a deadline: a file system that hangs costs the fresh values, not the heartbeat. ``run_sync`` must offer one thread that
nobody else uses and that may be left behind: while it hangs, no second one is started, and beats wait no longer for it.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import trio

from lattice_agent import __version__
from lattice_agent.facts.detail.own_cost import OwnLoad
from lattice_agent.facts.wireguard import WireGuard
from lattice_agent.link.announced import announced_features
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line, Reply
from lattice_agent.link.patience import Patience, spread
from lattice_agent.link.verdict import Kind
from lattice_agent.wire.base import WireError, WireModel, decode_json, encode
from lattice_agent.wire.ext import METRICS_DETAIL, POLICY_SUMMARY
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.hello import Addresses, Compatibility, Hello
from lattice_agent.wire.metrics import Heartbeat, Metrics
from lattice_agent.wire.metrics_detail import MetricsDetail
from lattice_agent.wire.policy import PolicySummary
from lattice_agent.wire.runtime import AgentRuntime

log = logging.getLogger(__name__)

COMPATIBILITY: Final = Compatibility(server_min="v0.2.2-alpha.2", dashboard_min="v0.2.2-alpha.7", channel="alpha")
FACTS_DEADLINE_S: Final = 2.0
HUNG_FACTS_DEADLINE_S: Final = 0.05
"""After a sample that came too late: time to find out that the thread is free again."""
RETRY_BASE_S: Final = 1.0
RETRY_CAP_S: Final = 10.0
"""With a black hole for a server an attempt takes its 30 s and then waits this long: two fit into the 90 s after which
the server calls the node offline."""
JITTER: Final = 0.05


@dataclass(frozen=True)
class Sample:
    """What is told about the host; ``detail`` if the control plane takes it, and ``problem`` for the log."""

    facts: HostFacts
    metrics: Metrics
    detail: MetricsDetail | None = None
    problem: str = ""


class HeartbeatService:
    """Tells that the node is there, and what it is."""

    name = "heartbeat"

    def __init__(
        self,
        line: Line,
        features: Features,
        *,
        node_id: str,
        interval_s: float,
        sample: Callable[[OwnLoad | None], Sample],
        own_load: Callable[[], OwnLoad],
        run_sync: Callable[..., Any],
        addresses: Callable[[], Addresses],
        runtime: Callable[[], AgentRuntime],
        policy: Callable[[], PolicySummary],
        wireguard: WireGuard,
        rng: random.Random,
    ) -> None:
        self._line = line
        self._features = features
        self._node_id = node_id
        self._interval_s = interval_s
        self._sample = sample
        self._own_load = own_load
        self._run_sync = run_sync
        self._addresses = addresses
        self._runtime = runtime
        self._policy = policy
        self._wireguard = wireguard
        self._rng = rng
        self._last = Sample(HostFacts(), Metrics())
        self._sample_problem = ""
        self._facts_deadline_s = FACTS_DEADLINE_S

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hello and heartbeat side by side."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hello)
            task_status.started()
            await self._beat_for_ever()

    async def _hello(self) -> None:
        patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        while True:
            reply = await self._say_hello()
            if reply.ok and reply.answer is not None:
                self._learn_features(reply.answer.body)
                log.info("the control plane knows us as %s", self._node_id)
                return
            await trio.sleep(patience.after(reply.verdict, self._rng))

    async def _say_hello(self) -> Reply:
        sample = await self._fresh_sample()
        hello = Hello(
            **self._identity(),
            wireguard_public_key=self._wireguard.public_key,
            wireguard_endpoint=self._wireguard.endpoint,
            wireguard_port=self._wireguard.port,
            host_facts=sample.facts,
        )
        return await self._line.post("/api/agent/hello", encode(hello), urgent=True)

    async def _beat_for_ever(self) -> None:
        patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        due = trio.current_time()
        was_ok: bool | None = None
        while True:
            reply = await self._beat()
            now, delay = trio.current_time(), patience.after(reply.verdict, self._rng)
            if reply.ok is not was_ok:
                # Any time within the interval: a fleet that began together, or has lost its control plane together,
                # would beat together for minutes, since the jitter takes so long to spread it.
                due = now + max(delay, self._rng.uniform(0, self._interval_s))
            elif reply.ok:
                # Keeps the beat on its grid; a late one does not make the next late.
                due = max(now, due + spread(self._interval_s, JITTER, self._rng))
            else:
                # Not faster than the interval, whatever the back-off says.
                due = now + max(delay, self._interval_s * (1 - JITTER))
            was_ok = reply.ok
            await trio.sleep_until(due)

    async def _beat(self) -> Reply:
        sample = await self._fresh_sample()
        heartbeat = Heartbeat(
            **self._identity(), metrics=sample.metrics, host_facts=sample.facts, agent_runtime=self._runtime()
        )
        extras = self._extras(sample)
        if not extras:
            return await self._line.post("/api/agent/metrics", encode(heartbeat), urgent=True)
        extended = heartbeat.model_copy(update=dict(extras.values()))
        reply = await self._line.post("/api/agent/metrics", encode(extended), urgent=True)
        if reply.verdict.kind is Kind.REFUSED:
            # Being online matters more than being known in detail. Which of them it was is not known.
            told = " and ".join(extras)
            log.warning("the heartbeat is refused with %s and goes on without: %s", told, reply.verdict.text)
            for feature in extras:
                self._features.withdraw(feature)
            reply = await self._line.post("/api/agent/metrics", encode(heartbeat), urgent=True)
        return reply

    def _extras(self, sample: Sample) -> dict[str, tuple[str, WireModel]]:
        """Feature to field of the heartbeat and its value, of what the control plane takes."""
        extras: dict[str, tuple[str, WireModel]] = {}
        if sample.detail is not None and self._features.has(METRICS_DETAIL):
            extras[METRICS_DETAIL] = ("metrics_detail", sample.detail)
        if self._features.has(POLICY_SUMMARY):
            extras[POLICY_SUMMARY] = ("policy", self._policy())
        return extras

    def _identity(self) -> dict[str, Any]:
        return {
            **self._addresses().__dict__,
            "node_id": self._node_id,
            "version": __version__,
            "compatibility": COMPATIBILITY,
        }

    async def _fresh_sample(self) -> Sample:
        """What the host is now, or was when it last could be read: within the deadline, and never an exception."""
        load = self._own_load() if self._features.has(METRICS_DETAIL) else None
        problem = ""
        with trio.move_on_after(self._facts_deadline_s) as scope:
            try:
                self._last = await self._run_sync(self._sample, load)
                problem = self._last.problem
            except Exception as error:  # noqa: BLE001  # facts are best effort; the heartbeat is not
                problem = f"{type(error).__name__}: {error}"
        if scope.cancelled_caught:
            problem = f"not read within {FACTS_DEADLINE_S:.0f} s"
        self._facts_deadline_s = HUNG_FACTS_DEADLINE_S if scope.cancelled_caught else FACTS_DEADLINE_S
        if problem != self._sample_problem:
            self._sample_problem = problem
            log.warning("facts of the host: %s", problem or "can be read again")
        return self._last

    def _learn_features(self, body: bytes) -> None:
        try:
            self._features.announced(announced_features(decode_json(body)))
        except WireError as error:
            log.warning("answer to hello: %s", error)
