"""What proxy usage costs the agent: CPU of one reading and one report of 4,096 users, and memory over many reports.

    python bench/usage.py [--json] [--users 4096] [--rounds 60] [--reports 100000]

A round is what an agent does between two reports when every user has moved: the file is read and parsed, the reading
entered into the ledger in a real state.db (synced), the report decided, written down (synced), built, handed to a
control plane that takes it at once, and its answer entered (synced). CPU is that of the process with all its threads.
Beside it, in the same run, is what Python's own json needs to read the same file and to write the same report: the
least that any agent in Python has to do. Memory is the process's own (anonymous) after a tenth of the reports and at
the end: a share of common pages would change with what else runs.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio
from rig import emit, machine

from lattice_agent.link.answer import Answer
from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.report.usage import UsageService
from lattice_agent.report.usage_readings import UsageReadings
from lattice_agent.state.commit import GroupCommit
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.usage_documents import UsageDocuments
from lattice_agent.usage.books import UsageBooks
from lattice_agent.usage.file import FileSource
from lattice_agent.usage_sources import reading_moment
from lattice_agent.wire.ext import USAGE_LEDGER

ANSWER = b'{"bytes_delta":1,"users_updated":1,"users_ignored":0,"alerts_fired":0}'
MEMORY_USERS = 20


class Taking:
    """A control plane that takes everything at once; keeps the last body."""

    def __init__(self) -> None:
        self.body = b""
        self.reports = 0

    async def post(self, _path: str, body: bytes, **_options: bool) -> Answer:
        self.body, self.reports = body, self.reports + 1
        await trio.lowlevel.checkpoint()
        return Answer(200, {}, ANSWER)


class Node:
    """The agent's parts for usage, driven by hand: one reading, one report."""

    def __init__(self, place: Path, state: StateDirectory, users: int, *, ledger: bool) -> None:
        self.file = place / f"usage-{ledger}.json"
        self.counters = {f"user-{number:05}": 10**9 for number in range(users)}
        self.plane, features = Taking(), Features()
        if ledger:
            features.announced([USAGE_LEDGER])
        commit = GroupCommit(state.connection, state.path, trio.to_thread.run_sync)
        self.books = UsageBooks(UsageDocuments(state.connection, commit, "http://control", f"node-{ledger}"))
        rng = random.Random(1)
        now = lambda: datetime.now(UTC)  # noqa: E731
        self.source = FileSource(self.file)
        self.readings = UsageReadings(
            [self.source], self.books, interval_s=2, names={}, moment=reading_moment, wall_now=now, rng=rng
        )
        line = Line(self.plane, LinkHealth())  # type: ignore[arg-type]
        self.service = UsageService(
            line, features, self.books, self.readings, node_id="n", interval_s=10, wall_now=now, rng=rng
        )

    def move(self) -> None:
        """The core's side, not measured."""
        self.counters = {user: count + 12_345 for user, count in self.counters.items()}
        self.file.write_text(json.dumps({"user_bytes": self.counters, "core_uptime_sec": 10**6}))

    async def round(self) -> None:
        await self.readings._read_once(str(self.source), self.source)
        await self.service._one_round()


async def cpu_ms(node: Node, rounds: int) -> float:
    taken = []
    for number in range(rounds):
        node.move()
        before = time.process_time()
        await node.round()
        if number > 2:  # the first are zero reports and the first values
            taken.append((time.process_time() - before) * 1000)
    return statistics.median(taken)


def json_ms(node: Node, rounds: int) -> float:
    """The same file read and the same report written by json alone."""
    text, report = node.file.read_text(), json.loads(node.plane.body)

    def once() -> None:
        json.loads(text)
        json.dumps(report)

    return statistics.median(timed(once) for _ in range(rounds))


def timed(call: Callable[[], None]) -> float:
    before = time.process_time()
    call()
    return (time.process_time() - before) * 1000


async def memory(node: Node, reports: int) -> tuple[float, float]:
    """Own memory in MiB after a tenth, and at the end."""
    early = 0.0
    for number in range(reports):
        node.move()
        await node.round()
        if number == reports // 10:
            early = own_mib()
    return early, own_mib()


def own_mib() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Anonymous:"))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {"machine": machine(), "users": options.users}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        with closing(StateDirectory(place / "state")) as state:
            for ledger in (False, True):
                kind = "ledger" if ledger else "base"
                node = Node(place, state, options.users, ledger=ledger)
                await node.books.load()
                figures[f"{kind}_cpu_ms"] = await cpu_ms(node, options.rounds)
                figures[f"{kind}_json_ms"] = json_ms(node, options.rounds)
            if options.reports:
                node = Node(place, state, MEMORY_USERS, ledger=True)
                await node.books.load()
                figures["early_own_mib"], figures["late_own_mib"] = await memory(node, options.reports)
                figures["reports"] = node.plane.reports
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--users", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--reports", type=int, default=0)
    options = parser.parse_args()
    figures = trio.run(measure, options)
    lines = [f"machine: {figures['machine']}"]
    for kind in ("base", "ledger"):
        ours, least = figures[f"{kind}_cpu_ms"], figures[f"{kind}_json_ms"]
        lines.append(
            f"one reading and one report of {figures['users']} users, {kind}: {ours:.1f} ms of CPU, "
            f"{ours / least:.1f} x what json alone needs ({least:.1f} ms)"
        )
    if options.reports:
        grown = figures["late_own_mib"] - figures["early_own_mib"]
        lines.append(
            f"memory over {figures['reports']} reports: {figures['late_own_mib']:.1f} MiB, grown by {grown:.2f}"
        )
    emit(options.json, figures, lines)


if __name__ == "__main__":
    main()
