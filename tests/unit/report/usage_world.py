"""The usage service in virtual time: books in a real file, a core in values, a server's rule, and faults between."""

import json
import random
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from lattice_agent.errors import StateError
from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import Reason, UnreachableError
from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.report.usage import UsageService
from lattice_agent.report.usage_readings import UsageReadings
from lattice_agent.state.commit import GroupCommit, call_directly
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.usage_documents import UsageDocuments
from lattice_agent.usage.books import UsageBooks
from lattice_agent.usage.ledger import Moment
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.source import UsageSource
from lattice_agent.wire.usage import LedgerReport
from tests.unit.usage.ledger_world import StubServer
from tests.unit.usage.world import Core, Server

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASE, LEDGER = "/api/agent/proxy-usage", "/api/agent/usage-ledger"


class Killed(Exception):  # noqa: N818 - a death, not an error
    """The agent dies here, as by kill -9."""


@dataclass
class Faults:
    """What goes wrong, by chance; all of it stops when ``on`` is false."""

    rng: random.Random
    on: bool = False
    disk_is_full: bool = False

    def happen(self, share: float) -> bool:
        return self.on and self.rng.random() < share


class CoreSource(UsageSource):
    """Reads a core of ``tests.unit.usage.world``; takes a moment, and fails when ``problem`` is set."""

    collector_source = "xray-api"

    def __init__(self, core: Core, name: str = "core") -> None:
        super().__init__(timeout_s=3.0)
        self.core = core
        self.problem = ""
        self._name = name

    async def _read(self) -> RawUsage:
        await trio.sleep(0.01)
        if self.problem:
            raise OSError(self.problem)
        counters = self.core.reading(trio.current_time())
        return RawUsage(dict(counters.user_bytes), core_uptime_s=counters.core_uptime_s, is_live=True)

    def __str__(self) -> str:
        return self._name


@dataclass
class Plane:
    """The way to the server, and the server's rules: of the base wire, and of ledgers if it is a ``StubServer``."""

    server: Server | StubServer
    faults: Faults
    kept: list[dict[str, Any]] = field(default_factory=list)
    """Ledger reports that something in the network keeps, and delivers once more at any time."""
    seen: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    after_billing: Callable[[], None] | None = None
    """Happens once, when the server has billed a report and nobody knows yet."""
    is_down: bool = False
    """Nothing listens there."""
    status: int | None = None
    """Answered instead of what the server says; nothing reaches it."""

    async def post(self, path: str, body: bytes, *, urgent: bool = False) -> Answer:
        request = json.loads(body)
        self.seen.append((trio.current_time(), path, request))
        await trio.sleep(0.02)
        if self.is_down:
            raise UnreachableError("connection refused", reason=Reason.CONNECT)
        if self.status is not None:
            return Answer(self.status, {}, b"{}")
        self._deliver_late()
        if self.faults.happen(0.15):
            raise UnreachableError("lost", reason=Reason.LOST)
        billed = self.server.billed.total()
        answer = self.serve(path, request)
        if self.after_billing is not None and self.server.billed.total() > billed:
            happens, self.after_billing = self.after_billing, None
            happens()
        await trio.sleep(0.02)
        if self.faults.happen(0.15):
            raise UnreachableError("no answer", reason=Reason.TIMEOUT)
        if self.faults.happen(0.1):
            return Answer(502, {}, b"bad gateway")
        return answer

    def _deliver_late(self) -> None:
        if self.kept and self.faults.happen(0.2):
            self.serve(LEDGER, self.faults.rng.choice(self.kept[-8:]))

    def serve(self, path: str, request: dict[str, Any]) -> Answer:
        if path == LEDGER and isinstance(self.server, StubServer):
            return self._serve_ledger(self.server, request)
        if path != BASE:
            return Answer(404, {}, b"404 page not found")
        snapshot = request["snapshot"]
        if snapshot.get("collector_status") == "error":
            return _told(200, {"users_ignored": 0})
        return _answer(*self.server.take(snapshot["user_bytes"] or {}), has_profile=self.server.has_profile)

    def _serve_ledger(self, server: StubServer, request: dict[str, Any]) -> Answer:
        report = LedgerReport.model_validate(request)
        if report.ledger is None:
            return _answer(200, 0)
        self.kept.append(request)
        return _answer(server.take_ledger(report.ledger), 0)


def _answer(status: int, ignored: int, *, has_profile: bool = False) -> Answer:
    if status != 200:
        message = "invalid" if has_profile else "proxy node profile node-1 not found"
        return _told(400, {"error": {"code": "bad_request", "message": message}})
    return _told(200, {"users_ignored": ignored})


def _told(status: int, document: dict[str, Any]) -> Answer:
    return Answer(status, {}, json.dumps(document).encode())


class DyingDocuments(UsageDocuments):
    """The agent may die right before a write, or right after it."""

    faults: Faults

    async def put(self, documents: Mapping[str, bytes | None]) -> None:
        if self.faults.disk_is_full:
            raise StateError("disk full")
        if self.faults.happen(0.02):
            raise Killed
        await super().put(documents)
        if self.faults.happen(0.02):
            raise Killed


@dataclass
class Agent:
    """Lives of the usage service on one state directory."""

    place: Path
    plane: Plane
    sources: list[CoreSource]
    faults: Faults
    features: Features = field(default_factory=Features)
    names: Mapping[str, str] = field(default_factory=dict)
    boot_id: str = "boot-1"
    wall_now: Callable[[], datetime] = lambda: NOW
    lives: int = 0
    books: UsageBooks | None = None

    async def one_life(self) -> None:
        """Until it dies, or is cancelled."""
        self.lives += 1
        with closing(StateDirectory(self.place)) as state:
            commit = GroupCommit(state.connection, state.path, call_directly)
            documents = DyingDocuments(state.connection, commit, "http://control", "node-1")
            documents.faults = self.faults
            self.books = UsageBooks(documents)
            try:
                await self._service(self.books).run()
            except* Killed:
                pass

    def _service(self, books: UsageBooks) -> UsageService:
        readings = UsageReadings(
            self.sources,
            books,
            interval_s=2.0,
            names=self.names,
            moment=lambda: Moment(self.boot_id, trio.current_time()),
            wall_now=self.wall_now,
            rng=self.faults.rng,
        )
        return UsageService(
            Line(self.plane, LinkHealth(on_change=lambda change: None)),  # type: ignore[arg-type]  # stands in
            self.features,
            books,
            readings,
            node_id="node-1",
            interval_s=10.0,
            wall_now=self.wall_now,
            rng=self.faults.rng,
        )

    async def live_for_ever(self) -> None:
        """One life after the other."""
        while True:
            await self.one_life()
            await trio.sleep(self.faults.rng.uniform(0.1, 5.0))
