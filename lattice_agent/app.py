"""The composition root: settings in, services out; the only place that knows every concrete class."""

import logging
import os
import random
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from lattice_agent import footprint
from lattice_agent.audit import NOTHING_YET, AuditLog
from lattice_agent.config import Settings
from lattice_agent.errors import LatticeError
from lattice_agent.exec.launch import SpawnerProcess
from lattice_agent.exec.local_policy import LocalPolicy
from lattice_agent.exec.runner import Runner, open_runner
from lattice_agent.exec.supervision import LingerEnd
from lattice_agent.exec.workdir import check_work_root, cleanup_leftovers
from lattice_agent.execution import Execution, load_policy
from lattice_agent.facts.address_plan import AddressFlags, AddressPlan
from lattice_agent.facts.addresses import AddressPair
from lattice_agent.facts.interfaces import read_internal_addresses
from lattice_agent.facts.traffic import Selection
from lattice_agent.facts.wireguard import WireGuard, checked_wireguard
from lattice_agent.lifecycle import Agent
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.control_stream import ControlStream
from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.link.names import Lookups
from lattice_agent.link.settings import LinkSettings
from lattice_agent.probing import Probing
from lattice_agent.report.addresses import AddressService
from lattice_agent.report.config_poll import ConfigService
from lattice_agent.report.heartbeat import HeartbeatService
from lattice_agent.report.host_sample import HostSampler
from lattice_agent.report.inventory import InventoryService
from lattice_agent.report.own_load import OwnLoadService
from lattice_agent.state.clock import boot_time
from lattice_agent.state.commit import GroupCommit
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.journal import Journal
from lattice_agent.state.usage_documents import UsageDocuments
from lattice_agent.supervisor import Service
from lattice_agent.tasks.decide import PollRhythm
from lattice_agent.tasks.intake import Intake
from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.tasks.local_script import LocalScript
from lattice_agent.tasks.record import TaskAudit
from lattice_agent.tasks.run import Runs
from lattice_agent.tasks.sender import Sender
from lattice_agent.tasks.spool import Spool
from lattice_agent.tasks.stream_talk import StreamTalk
from lattice_agent.tasks.tidy import Tidying
from lattice_agent.threads import run_in_thread
from lattice_agent.usage_sources import configured_sources, legal_names, reading_moment
from lattice_agent.wire.ext import BATCH_RESULTS

if TYPE_CHECKING:
    from lattice_agent.facts.inventory.collector import InventoryCollector

log = logging.getLogger(__name__)

BASE_RATE: Final = 5.0
BATCH_RATE: Final = 40.0
"""Requests a second: half of what an unmodified server grants one address; more where batches are announced."""


def run(settings: Settings, environ: Mapping[str, str], spawner: SpawnerProcess) -> int:
    """The agent until SIGTERM or SIGINT; returns the exit code. Raises LatticeError for what makes a start useless.

    ``environ``: the variables that the program was called with; policy may pass some on to scripts.
    """
    try:
        policy = load_policy(settings)
        if settings.exec.work_root is not None:
            check_work_root(str(settings.exec.work_root))
        with _open_state(settings) as (state, audit):
            cleanup_leftovers(_text(settings.exec.work_root))
            footprint.settle()
            return trio.run(_main, settings, environ, spawner, policy, state, audit)
    except BaseExceptionGroup as group:
        raise _most_telling(group) from None
    finally:
        spawner.close()


@contextmanager
def _open_state(settings: Settings) -> Iterator[tuple[StateDirectory, AuditLog]]:
    state = StateDirectory(settings.state.dir)
    try:
        with AuditLog(settings.state.dir / "audit.log") as audit:
            if state.is_new and audit.head != NOTHING_YET:
                log.warning(
                    "%s is new, but the audit beside it is not: what the last one held is gone (unsent results, "
                    "and which tasks have run)",
                    settings.state.dir / "state.db",
                )
            yield state, audit
    finally:
        state.close()


def _most_telling(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Our own error out of a group, for its exit code; the group itself if it holds anything else."""
    ours, others = group.split(LatticeError)
    if ours is None or others is not None:
        return group
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def _main(
    settings: Settings,
    environ: Mapping[str, str],
    spawner: SpawnerProcess,
    policy: LocalPolicy,
    state: StateDirectory,
    audit: AuditLog,
) -> int:
    plane = settings.control_plane
    link = LinkSettings(
        base_url=plane.base_url,
        node_id=settings.agent.node_id,
        allow_insecure_http=plane.allow_insecure_http,
        ca_file=plane.ca_file,
        pin_spki_sha256=plane.pins,
        requests_per_s=BASE_RATE,
    )
    async with ControlPlane(link, settings.agent.token) as control_plane:
        trio.socket.set_custom_hostname_resolver(Lookups())
        record = TaskAudit(audit, plane.base_url, run_in_thread)
        async with trio.open_nursery() as records:

            def on_linger_end(over: LingerEnd) -> None:
                records.start_soon(record.lingered, over)

            async with open_runner(spawner, on_linger_end=on_linger_end) as runner:
                execution = await Execution.prepare(settings, policy, environ, runner)
                agent = _compose(settings, execution, control_plane, runner, state, record)
                with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    await agent.live(signals.__anext__)
    return os.EX_OK


def _compose(
    settings: Settings,
    execution: Execution,
    control_plane: ControlPlane,
    runner: Runner,
    state: StateDirectory,
    record: TaskAudit,
) -> Agent:
    node_id = settings.agent.node_id
    rng = random.SystemRandom()
    features = Features()
    features.on_change(partial(_set_rate, control_plane, features))
    line = Line(control_plane, LinkHealth())
    commit = GroupCommit(state.connection, state.path, _in_own_thread())
    spool = Spool(Journal(state.connection, settings.control_plane.base_url, node_id), commit)
    sender = Sender(line, spool, features, node_id=node_id, now=boot_time, rng=rng)
    live = LiveSender(features)
    runs = Runs(
        spool,
        runner,
        execution.decide,
        node_id=node_id,
        slots=settings.exec.slots,
        now=boot_time,
        audit=record,
        result_stored=sender.result_stored,
        live=live,
    )
    rhythm = PollRhythm(idle_s=settings.report.poll_idle_s, busy_s=settings.report.poll_busy_s)
    intake = Intake(
        *(line, spool, runs, sender, features),
        rhythm=rhythm,
        now=boot_time,
        rng=rng,
        lease_changed=live.lease_changed,
    )
    stream = ControlStream(line, features, StreamTalk(intake, runs, live), rng=rng)
    script = LocalScript("ip-script", runner, execution.decide, record)
    load = OwnLoadService(features, tasks_running=lambda: runs.statistics().running, results_waiting=spool.unsent)
    documents = UsageDocuments(state.connection, commit, settings.control_plane.base_url, node_id)
    reports = (*_reports(settings, line, features, rng, script, execution, load, documents), load)
    services = (stream, *reports, Tidying(spool, boot_time), Probing(execution, runner, rng))
    return Agent(services, sender, runs, intake, settings.exec.drain_s)


def _reports(
    settings: Settings,
    line: Line,
    features: Features,
    rng: random.Random,
    script: LocalScript,
    execution: Execution,
    load: OwnLoadService,
    documents: UsageDocuments,
) -> tuple[Service, ...]:
    wireguard = checked_wireguard(
        ip=settings.addresses.wg_ip,
        public_key=settings.addresses.wg_pubkey,
        endpoint=settings.addresses.wg_endpoint,
        port=settings.addresses.wg_port,
    )
    for problem in wireguard.problems:
        log.warning("%s", problem)
    addresses = AddressService(
        _address_flags(settings),
        wireguard.ip,
        internal=read_internal_addresses,
        ask=_ask_resolvers,
        run_script=script.output,
        run_sync=_in_own_thread(abandon_on_cancel=True),
    )
    heartbeat = _heartbeat(settings, line, features, rng, addresses, wireguard, execution, load)
    config = ConfigService(
        line, features, interval_s=settings.report.interval_s, on_ip_config=addresses.override, rng=rng
    )
    inventory = _inventory(settings, line, features, rng)
    return (heartbeat, config, addresses, inventory, *_usage(settings, line, features, rng, documents))


def _heartbeat(
    settings: Settings,
    line: Line,
    features: Features,
    rng: random.Random,
    addresses: AddressService,
    wireguard: WireGuard,
    execution: Execution,
    load: OwnLoadService,
) -> HeartbeatService:
    sampler = HostSampler(_selection(settings), _container_variable())
    return HeartbeatService(
        line,
        features,
        node_id=settings.agent.node_id,
        interval_s=settings.report.interval_s,
        sample=sampler.sample,
        own_load=load.take,
        run_sync=_in_own_thread(abandon_on_cancel=True),
        addresses=addresses.current,
        runtime=execution.runtime,
        policy=execution.policy_summary,
        wireguard=wireguard,
        rng=rng,
    )


def _inventory(settings: Settings, line: Line, features: Features, rng: random.Random) -> InventoryService:
    selection, container = _selection(settings), _container_variable()

    @cache
    def collector() -> "InventoryCollector":
        # Loaded when a control plane wants it: most of the facts package, for nothing with one that does not.
        from lattice_agent.facts.inventory.collector import InventoryCollector
        from lattice_agent.facts.inventory.families import inventory_families

        return InventoryCollector(inventory_families(selection, container))

    return InventoryService(
        line,
        features,
        node_id=settings.agent.node_id,
        collect=lambda now: collector().collect(now),
        run_sync=_in_own_thread(abandon_on_cancel=True),
        wall_now=lambda: datetime.now(UTC),
        rng=rng,
    )


def _selection(settings: Settings) -> Selection:
    return Selection(settings.facts.interfaces, settings.facts.exclude_interfaces)


def _container_variable() -> str:
    return os.environ.get("container", "")  # noqa: SIM112  # the name that container managers set


def _usage(
    settings: Settings, line: Line, features: Features, rng: random.Random, documents: UsageDocuments
) -> tuple[Service, ...]:
    """The usage service if a source is configured; its code is loaded only then."""
    sources = configured_sources(settings.usage)
    if not sources:
        return ()
    from lattice_agent.report.usage import UsageService
    from lattice_agent.report.usage_readings import UsageReadings
    from lattice_agent.usage.books import UsageBooks

    books = UsageBooks(documents)
    readings = UsageReadings(
        sources,
        books,
        interval_s=settings.usage.read_interval_s,
        names=legal_names(settings.usage),
        moment=reading_moment,
        wall_now=lambda: datetime.now(UTC),
        rng=rng,
    )
    return (
        UsageService(
            line,
            features,
            books,
            readings,
            node_id=settings.agent.node_id,
            interval_s=settings.report.interval_s,
            wall_now=lambda: datetime.now(UTC),
            rng=rng,
        ),
    )


def _address_flags(settings: Settings) -> AddressFlags:
    return AddressFlags(
        mode=settings.addresses.mode,
        public_ip=settings.addresses.public_ip4,
        public_ipv6=settings.addresses.public_ip6,
        resolvers=settings.addresses.resolvers,
        script=settings.addresses.script,
    )


async def _ask_resolvers(plan: AddressPlan) -> tuple[AddressPair, tuple[str, ...]]:
    import ssl

    from lattice_agent.facts.resolver import find_public_addresses, resolver_client

    tls = ssl.create_default_context()
    async with resolver_client(4, tls) as client_v4, resolver_client(6, tls) as client_v6:
        found = await find_public_addresses(plan, client_v4, client_v6)
    return found.addresses, found.problems


def _set_rate(control_plane: ControlPlane, features: Features) -> None:
    control_plane.set_rate(BATCH_RATE if features.has(BATCH_RESULTS) else BASE_RATE)


def _in_own_thread(*, abandon_on_cancel: bool = False) -> Any:
    """A runner with one thread that nobody else can keep busy.

    With ``abandon_on_cancel`` a read of a hung file system is left behind, and no second one starts while it hangs.
    """
    return partial(run_in_thread, limiter=trio.CapacityLimiter(1), abandon_on_cancel=abandon_on_cancel)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
