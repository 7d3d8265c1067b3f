"""One node: an agent of real services, life after life on one state directory, as ``lattice_agent.app`` composes it."""

import random
from collections.abc import Collection, Mapping
from functools import partial
from itertools import count
from pathlib import Path

import trio

from lattice_agent.app import BASE_RATE, BATCH_RATE
from lattice_agent.audit import AuditLog, Stamp
from lattice_agent.facts.detail.own_cost import OwnLoad
from lattice_agent.facts.wireguard import WireGuard
from lattice_agent.lifecycle import Agent
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.control_stream import ControlStream
from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.link.settings import LinkSettings
from lattice_agent.report.config_poll import ConfigService
from lattice_agent.report.heartbeat import HeartbeatService, Sample
from lattice_agent.report.usage import UsageService
from lattice_agent.report.usage_readings import UsageReadings
from lattice_agent.secret import Secret
from lattice_agent.state.clock import BootTime
from lattice_agent.state.commit import GroupCommit
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.journal import Journal
from lattice_agent.state.usage_documents import UsageDocuments
from lattice_agent.supervisor import Service
from lattice_agent.tasks.decide import PollRhythm
from lattice_agent.tasks.intake import Intake
from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.tasks.record import TaskAudit
from lattice_agent.tasks.run import Runs
from lattice_agent.tasks.sender import Sender
from lattice_agent.tasks.spool import Spool
from lattice_agent.tasks.tidy import Tidying
from lattice_agent.usage.books import UsageBooks
from lattice_agent.usage.ledger import Moment
from lattice_agent.wire.ext import BATCH_RESULTS
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.hello import Addresses
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.policy import PolicySummary
from lattice_agent.wire.runtime import AgentRuntime
from tests.rigs.lease_loop import CrashedError
from tests.sim.bounds import check_bounds
from tests.sim.party import NETWORK, PARTY, Party, WallClock
from tests.sim.scenario import How, Job, NodePlan
from tests.sim.scripts import Scripts, decide
from tests.sim.stream import StreamLine, Streams, WatchedTalk
from tests.sim.trace import Trace
from tests.sim.usage import Cores
from tests.sim.watch import Watch
from tests.sim.wire import Wire

URL = "http://127.0.0.1:8088"
DRAIN_S = 20.0
READ_S = 15.0
"""Between two readings of a proxy core."""


class Life:
    """One process of the agent."""

    def __init__(self, node: "Node", number: int) -> None:
        self._node = node
        self._rng = random.Random(f"{node.seed} {node.name} life {number}")
        self.party = Party(node.name, node.wall)
        self._state = StateDirectory(node.place)
        self.connection = self._state.connection
        self._audit = AuditLog(node.place / "audit.log", now=self._stamp)
        self.commit = GroupCommit(self._state.connection, self._state.path, self.party.call)
        self.journal = Journal(self._state.connection, URL, node.name)
        self.spool = Spool(self.journal, self.commit)
        self.features = Features()
        self.scripts = Scripts(self.party, node.name, node.jobs, node.watch)
        self.runs: Runs | None = None

    def now(self) -> BootTime:
        """The boot clock, which nothing sets."""
        return BootTime(self._node.boot_id, trio.current_time() - self._node.booted_s)

    def _stamp(self) -> Stamp:
        now = self.now()
        return Stamp(self.party.wall.now(), now.boot_id, int(now.seconds * 1000))

    async def live(self) -> None:
        """Until it dies or has stopped; errors are those of an agent that ends by itself."""
        PARTY.set(self.party)
        settings = LinkSettings(base_url=URL, node_id=self._node.name, requests_per_s=BASE_RATE)
        try:
            with self.party.scope:
                async with ControlPlane(settings, Secret(self._node.token), transport=self._node.wire) as plane:
                    await self._compose(plane).live(self._stop)
        except* CrashedError:
            assert not self.party.alive, "only who has died meets this"
        finally:
            PARTY.set(NETWORK)
            self._state.close()
            self._audit.close()

    async def _stop(self) -> None:
        if self.party.stopping.is_set():
            await trio.sleep_forever()  # nobody asks a second time
        await self.party.stopping.wait()

    def _compose(self, plane: ControlPlane) -> Agent:
        node = self._node
        self.features.on_change(partial(self._set_rate, plane))
        line = StreamLine(plane, LinkHealth(on_change=lambda change: None))
        self.live_sender = LiveSender(self.features)
        self._sender = sender = Sender(line, self.spool, self.features, node_id=node.name, now=self.now, rng=self._rng)
        self.runs = runs = Runs(
            self.spool,
            self.scripts,
            decide,
            node_id=node.name,
            slots=node.plan.slots,
            now=self.now,
            audit=TaskAudit(self._audit, URL, self.party.call),
            result_stored=sender.result_stored,
            live=self.live_sender,
        )
        rhythm = PollRhythm(idle_s=node.plan.poll_idle_s, busy_s=node.plan.poll_idle_s / 3)
        intake = Intake(
            *(line, self.spool, runs, sender, self.features),
            rhythm=rhythm,
            now=self.now,
            rng=self._rng,
            lease_changed=self.live_sender.lease_changed,
        )
        reports = (*self._stream(line, intake, runs), *self._reports(line), Tidying(self.spool, self.now))
        return Agent(reports, sender, runs, intake, DRAIN_S)

    def _stream(self, line: StreamLine, intake: Intake, runs: Runs) -> tuple[Service, ...]:
        node = self._node
        if node.streams is None:
            return ()
        line.streams = node.streams
        talk = WatchedTalk(intake, runs, self.live_sender)
        talk.node, talk.trace, talk.watch = node.name, node.trace, node.watch
        return (ControlStream(line, self.features, talk, rng=self._rng),)

    def _set_rate(self, plane: ControlPlane) -> None:
        plane.set_rate(BATCH_RATE if self.features.has(BATCH_RESULTS) else BASE_RATE)

    def _reports(self, line: Line) -> tuple[Service, ...]:
        node = self._node
        heartbeat = HeartbeatService(
            line,
            self.features,
            node_id=node.name,
            interval_s=node.plan.interval_s,
            sample=self._sample,
            own_load=OwnLoad,
            run_sync=self.party.call,
            addresses=Addresses,
            runtime=AgentRuntime,
            policy=PolicySummary,
            wireguard=WireGuard(),
            rng=self._rng,
        )
        config = ConfigService(
            line,
            self.features,
            interval_s=node.plan.interval_s * 3,
            on_ip_config=lambda config: None,
            rng=self._rng,
        )
        if not node.plan.traffic:
            return heartbeat, config
        return heartbeat, config, self._usage(line)

    def _sample(self, load: OwnLoad | None) -> Sample:
        check_bounds(self._node, self)
        return Sample(HostFacts(), Metrics())

    def held(self) -> Collection[str]:
        """Task ids of results that wait for a time of their own."""
        return self._sender._held

    def commits_pending(self) -> int:
        """Operations that wait for the store."""
        return len(self.commit._pending)

    def _usage(self, line: Line) -> Service:
        node = self._node
        books = UsageBooks(UsageDocuments(self._state.connection, self.commit, URL, node.name))
        wall = self.party.wall.now
        readings = UsageReadings(
            node.cores.sources(),
            books,
            interval_s=READ_S,
            names={},
            moment=lambda: Moment(self.now().boot_id, self.now().seconds),
            wall_now=wall,
            rng=self._rng,
        )
        return UsageService(
            line,
            self.features,
            books,
            readings,
            node_id=node.name,
            interval_s=node.plan.interval_s,
            wall_now=wall,
            rng=self._rng,
        )


class Node:
    """Through all of its lives."""

    def __init__(
        self,
        name: str,
        plan: NodePlan,
        jobs: Mapping[int, Job],
        wire: Wire,
        token: str,
        place: Path,
        trace: Trace,
        watch: Watch,
        seed: int,
    ) -> None:
        self.name, self.plan, self.jobs, self.wire, self.token = name, plan, jobs, wire, token
        self.place, self.trace, self.watch, self.seed = place, trace, watch, seed
        self.wall = WallClock(plan.wall_moves)
        self.boot_id, self.booted_s = "boot-1", -500.0
        self.down_s = 0.0
        self.reboots = 0
        self.life: Life | None = None
        self.streams: Streams | None = None
        """Its control streams; None: whatever lies between lets none through."""
        self.cores = Cores(name, plan, place, URL, trace)

    @property
    def party(self) -> Party | None:
        """Of the life that there is."""
        return None if self.life is None else self.life.party

    async def live_for_ever(self) -> None:
        """One life after the other."""
        for number in count(1):
            self.life = Life(self, number)
            self.trace.note(self.name, f"UP, life {number}, {self.boot_id}")
            self.watch.up(self.name)
            death = await self._one_life(self.life)
            self.watch.down(self.name)
            self.life = None
            if death is How.REBOOT:
                self.cores.machine_down()
            self.trace.note(self.name, f"{death}, back in {self.down_s:g} s")
            await trio.sleep(self.down_s)
            if death is How.REBOOT:
                self.reboots += 1
                self.cores.machine_up()
                self.boot_id, self.booted_s = f"boot-{self.reboots + 1}", trio.current_time()

    async def _one_life(self, life: Life) -> How:
        try:
            await life.live()
        except Exception as error:
            self.trace.violated("no fault", f"the agent of {self.name} ends by itself: {error!r}")
        if life.party.stopping.is_set() and life.party.alive:
            return How.STOPPED
        return life.party.armed.how if life.party.armed is not None else How.KILLED
