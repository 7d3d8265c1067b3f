"""The course of a soak: a rest, load with faults, a rest. What it sees is on disk at the end; ``report`` judges it."""

import csv
import json
import random
import ssl
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from tests.rigs.real_processes import COMMAND
from tests.rigs.scripted_core import listening_core
from tests.rigs.steered_plane import Node
from tests.soak.company import PASSWORD, USERS, VIEWERS, Company, Core, wait_billed
from tests.soak.endings import Deaths, faults_of_starts
from tests.soak.faults import Planned, Saboteur, plan_faults
from tests.soak.load import Load
from tests.soak.machine import machine
from tests.soak.operators import AwayError, Operators, Refused, operators
from tests.soak.plant import Place, Plant, make_plant
from tests.soak.samples import SampleFile, agent_numbers, process_numbers, server_numbers
from tests.soak.wire import open_wire, wrong_answers

NODES: Final = ("first", "second")
HEALTH_S: Final = 5.0
"""A request for health that takes longer is not waited for: that sample lacks it."""
DISK_EVERY: Final = 4
"""Samples: databases are looked into less often, a look takes their owner's disk."""
REST_S: Final = 15.0
SETTLES_S: Final = 120.0
"""After the last task: everything is billed and told by then."""
KEPT_SHARE: Final = 0.2
"""Of all targets, the control plane keeps so many: its database reaches its bound in the first half."""


@dataclass(frozen=True)
class Settings:
    """Of one soak. ``agent``: the program, another one in tests of the soak itself."""

    seconds: float
    out: Path
    seed: int = 1
    per_s: float = 4.0
    sample_s: float = 3.0
    agent: Sequence[str | Path] = (COMMAND,)

    @property
    def kept_targets(self) -> int:
        return max(50, int(self.seconds * self.per_s * KEPT_SHARE))


@dataclass
class Course:
    """What was counted; the rest is in files beside ``course.json``."""

    seconds: float
    seed: int
    per_s: float
    kept_targets: int
    load_from_s: float = 0.0
    load_until_s: float = 0.0
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d"))
    machine: dict[str, str] = field(default_factory=lambda: machine())
    counts: dict[str, int] = field(default_factory=dict)
    excused: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    fault_count: int = 0
    billed_bytes: int = 0


class Soak:
    """One soak; what it talks to is there once ``run`` has begun."""

    operators: Operators
    load: Load
    company: Company
    operator: str

    def __init__(self, settings: Settings, plant: Plant, samples: SampleFile) -> None:
        self.settings, self.plant, self.samples = settings, plant, samples
        self.deaths = Deaths()
        self.course = Course(settings.seconds, settings.seed, settings.per_s, settings.kept_targets)

    def chance(self, purpose: str) -> random.Random:
        """A source of its own for each purpose: none disturbs another."""
        return random.Random(f"{self.settings.seed} {purpose}")

    async def run(self) -> Course:
        """All of it."""
        place, plant = self.plant.place, self.plant
        context = ssl.create_default_context(cafile=str(plant.authority.certificate))
        async with AsyncExitStack() as stack:
            core = Core()
            listening = await stack.enter_async_context(listening_core(core.answer))
            answers = wrong_answers(plant.identity.server_context(), self.chance("answers"))
            wrong_port = await stack.enter_async_context(answers)
            token = place.operator.read_text().strip()
            self.operators = await stack.enter_async_context(operators(plant.server.url, context, token))
            wires = [await stack.enter_async_context(open_wire(plant.server.port)) for _ in NODES]
            await self._enrol([wire.port for wire in wires], listening.address)
            self.load = stack.enter_context(
                Load(self.operators, NODES, place.starts, self.deaths, place.path / "endings.csv")
            )
            self.company = Company(self.operators, self.load, NODES, plant.server.port)
            events = csv.writer(stack.enter_context((place.path / "faults.csv").open("w", newline="", buffering=1)))
            events.writerow(("at_s", "fault", "node", "begins"))
            saboteur = Saboteur(
                plant,
                wires,
                list(NODES),
                wrong_port,
                self.deaths,
                partial(self._note, events),
                lambda: self.samples.now,
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sample_for_ever, context)
                await self._live(saboteur, core)
                nursery.cancel_scope.cancel()
            await self._stop_agents()
        return self._counted(core)

    async def _enrol(self, ports: Sequence[int], core: str) -> None:
        [operator] = (await self.operators.ask("GET", "operators"))["operators"]
        self.operator = operator["name"]
        await self.operators.ask("POST", f"operators/{self.operator}/password", {"password": PASSWORD})
        for user in USERS:
            await self.operators.ask("POST", "users", {"id": user})
        for name, port in zip(NODES, ports, strict=True):
            token = (await self.operators.ask("POST", "nodes", {"id": name}))["token"]
            await self.operators.ask("PUT", f"nodes/{name}/profile", {})
            agent = self.plant.add_agent(Node(name, token), port, core, self.settings.agent)
            await trio.to_thread.run_sync(agent.start)

    async def _live(self, saboteur: Saboteur, core: Core) -> None:
        """Rest, load, rest."""
        with trio.fail_after(SETTLES_S):
            await self._until_ready()
        await trio.sleep(REST_S)
        self.course.load_from_s = self.samples.now
        self.course.load_until_s = self.samples.now + self.settings.seconds
        plan = [
            Planned(one.at_s + self.samples.now, one.fault, one.node, one.lasts_s)
            for one in plan_faults(self.chance("faults"), self.settings.seconds)
        ]
        async with trio.open_nursery() as others:
            others.start_soon(core.run, self.chance("traffic"))
            for number in range(VIEWERS):
                others.start_soon(self.company.view, self.chance(f"viewer {number}"))
            others.start_soon(self.company.read_pages, self.chance("pages"), self.operator)
            others.start_soon(self.company.ask, self.chance("questions"))
            others.start_soon(self.company.change, self.chance("changes"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(saboteur.run, plan)
                await self.load.run(self.chance("load"), self.settings.per_s, self.settings.seconds)
            others.cancel_scope.cancel()
        await self._settle(core)

    async def _until_ready(self) -> None:
        """Every node has told what it allows and read the core: from now on all traffic counts."""
        while True:
            nodes = (await self.operators.surely("GET", "nodes"))["nodes"]
            profiles = (await self.operators.surely("GET", "usage"))["nodes"]
            if all(node["policy"] and node["control_stream"] for node in nodes) and all(
                profile["last_report_at"] for profile in profiles
            ):
                return
            await trio.sleep(0.2)

    async def _settle(self, core: Core) -> None:
        """Nodes that were being drained may work again; then all is billed, and a last rest."""
        for node in NODES:
            await self.operators.surely("POST", f"nodes/{node}/drain", {"draining": False})
        await self.load.wait_all_ended()
        with trio.move_on_after(SETTLES_S) as scope:
            await wait_billed(self.operators, NODES, core.truth)
        if scope.cancelled_caught:
            users = (await self.operators.surely("GET", "usage"))["users"]
            self.load.fault(f"billed {[user['per_node'] for user in users]}, the core counted {core.truth}")
        await trio.sleep(REST_S)
        await self._sample({}, disk=True)

    async def _stop_agents(self) -> None:
        for agent in self.plant.agents.values():
            code = await trio.to_thread.run_sync(agent.stop)
            if code != 0:
                self.load.fault(f"agent {agent.id} ended with {code}")
        self.load.flush()

    # --- samples -----------------------------------------------------------------------------------------------------

    async def _sample_for_ever(self, context: ssl.SSLContext) -> None:
        due, number = trio.current_time(), 0
        async with httpx.AsyncClient(base_url=self.plant.server.url, verify=context, trust_env=False) as client:
            while True:
                await trio.sleep_until(due)
                lag_s = trio.current_time() - due
                numbers = {"lag_s": lag_s} | await self._health(client)
                await self._sample(numbers, disk=number % DISK_EVERY == 0)
                number += 1
                due = max(due + self.settings.sample_s, trio.current_time())

    async def _health(self, client: httpx.AsyncClient) -> dict[str, float]:
        began = trio.current_time()
        try:
            (await client.get("/api/health", timeout=HEALTH_S)).raise_for_status()
        except httpx.HTTPError:
            return {}
        return {"health_s": trio.current_time() - began}

    async def _sample(self, here: dict[str, float], *, disk: bool) -> None:
        await trio.to_thread.run_sync(self._sample_processes, disk)
        server = {name: here.pop(name) for name in ("health_s",) if name in here}
        self.samples.add("server", self.plant.server.lives, server)
        done = {"open": self.load.open, "ended": self.load.ended}
        self.samples.add("soak", 1, here | done | process_numbers_here())
        with suppress(AwayError, Refused):
            for node in (await self.operators.ask("GET", "nodes"))["nodes"]:
                agent = self.plant.agents[node["id"]]
                self.samples.add(f"agent {node['id']}", agent.lives, _told(node))

    def _sample_processes(self, disk: bool) -> None:
        plant = self.plant
        server = server_numbers(plant.server, plant.place.database) if disk else process_numbers(plant.server.pid)
        self.samples.add("server", plant.server.lives, server)
        for name, agent in plant.agents.items():
            life = agent.lives
            numbers = agent_numbers(agent) if disk else process_numbers(agent.pid)
            self.samples.add(f"agent {name}", life, numbers)
            spawner = agent.spawner
            if spawner is not None:
                self.samples.add(f"spawner {name}", spawner, process_numbers(spawner))

    def _note(self, events: Any, planned: Planned, begins: bool) -> None:
        events.writerow((f"{self.samples.now:.2f}", planned.fault, planned.node, int(begins)))

    # --- the end -----------------------------------------------------------------------------------------------------

    def _counted(self, core: Core) -> Course:
        course, load, place = self.course, self.load, self.plant.place
        for sentence in faults_of_starts(place.starts, place.path / "endings.csv"):
            load.fault(sentence)
        for what, count in self.operators.faults.items():
            load.fault(f"the control plane answered {what}, {count} times")
        for log in (place.log("control"), *(log for agent in self.plant.agents.values() for log in agent.logs)):
            if "Traceback" in log.read_text(errors="replace"):
                load.fault(f"a traceback in {log.relative_to(place.path)}")
        course.counts = {
            "ordered tasks": load.ordered,
            "ended targets": load.ended,
            "orders without an answer": load.unanswered,
            "leases that died and were given again": load.leased_again,
            "requests of operators": self.operators.asked,
            **self.company.seen,
        }
        course.excused, course.faults, course.fault_count = dict(load.excused), load.faults, load.fault_count
        course.billed_bytes = sum(core.truth.values())
        return course


def _told(node: dict[str, Any]) -> dict[str, float]:
    """What a node says of itself, and how long ago."""
    told = {}
    if node["last_seen"]:
        told["silence_s"] = (datetime.now(UTC) - datetime.fromisoformat(node["last_seen"])).total_seconds()
    own = (node["metrics_detail"] or {}).get("agent") or {}
    if own.get("loop_lag_s") is not None:
        told["lag_s"] = own["loop_lag_s"]
    return told


def process_numbers_here() -> dict[str, float]:
    """What the soak itself costs, and how busy the machine is."""
    return {"process_s": time.process_time(), "load1": float(Path("/proc/loadavg").read_text().split()[0])}


def soak(settings: Settings) -> Course:
    """From nothing to ``course.json`` and the files beside it, in ``settings.out``."""
    settings.out.mkdir(parents=True)
    with ExitStack() as stack:
        limits = {"ended_targets": settings.kept_targets, "audit_events": 2 * settings.kept_targets}
        plant = make_plant(stack, Place(settings.out), limits)
        samples = stack.enter_context(SampleFile(settings.out / "samples.csv"))
        course = trio.run(Soak(settings, plant, samples).run)
    (settings.out / "course.json").write_text(json.dumps(asdict(course), indent=1))
    return course
