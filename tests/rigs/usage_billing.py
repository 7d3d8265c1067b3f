"""A node whose proxy usage is billed, with everything real and everything to be killed: server, agents, core.

    with billed_nodes(place, wire, {"plain": (), "named": ("alice@t=alice",)}) as world:
        world.core.traffic("ann", 5000)
        world.server.kill()
        world.nodes["plain"].agent.restart()

All nodes read the same core. What an agent has durably read, and whether a report of it waits for an answer, is looked
up in its ``state.db``.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from tests.rigs.real_processes import RunningAgent, Site, reserved_port, wait_until
from tests.rigs.steered_plane import SteeredPlane, control_plane
from tests.rigs.v2ray import V2rayCore, v2ray_core

T = TypeVar("T")

LABELS: Final = ("ann", "bob", "alice@t")
"""What the core calls its users; the last one is no legal id."""
USERS: Final = ("ann", "bob", "alice")
"""The users of the control plane."""


class Killable(Generic[T]):
    """What runs inside of a context manager that ends it by SIGKILL: again and again."""

    def __init__(self, begin: Callable[[], AbstractContextManager[T]]) -> None:
        self._begin = begin
        self._life = ExitStack()
        self._running: T | None = None

    @property
    def running(self) -> T:
        assert self._running is not None, "it does not run"
        return self._running

    @property
    def runs(self) -> bool:
        return self._running is not None

    def start(self) -> None:
        """Nothing, if it runs."""
        if self._running is None:
            self._running = self._life.enter_context(self._begin())

    def kill(self) -> None:
        self._running = None
        self._life.close()

    def restart(self) -> None:
        self.kill()
        self.start()


@dataclass(frozen=True)
class Book:
    """What an agent has on disk of the core. ``taken_s`` is CLOCK_MONOTONIC of the reading."""

    raw: Mapping[str, int]
    totals: Mapping[str, int]
    taken_s: float


@dataclass(frozen=True)
class UsageNode:
    """One agent that reads the core."""

    id: str
    state: Path
    agent: Killable[RunningAgent]
    ids: Mapping[str, str]
    """The user behind each label of the core that the node can report."""

    def reported(self, counted: Mapping[str, int]) -> dict[str, int]:
        """What it has to report of these counters, by user."""
        return {user: counted[label] for label, user in self.ids.items() if counted.get(label)}

    def book(self) -> Book | None:
        """``None`` before the first reading. Counters of 0 are left out: the core drops them as it likes."""
        for name, document in self._documents().items():
            if name.startswith("source:"):
                return Book(_moved(document["raw"]), _moved(document["totals"]), document["taken"]["monotonic_s"])
        return None

    def has_read(self, counted: Mapping[str, int]) -> bool:
        """Whether these counters, by label, are on disk as the last ones."""
        book = self.book()
        return book is not None and book.raw == self.reported(counted)

    def has_read_since(self, moment_s: float) -> bool:
        """Whether a reading that began after the moment is on disk."""
        book = self.book()
        return book is not None and book.taken_s > moment_s

    def has_on_its_way(self) -> bool:
        """Whether a report with counters was written down and is not known to be answered."""
        standing = self._documents().get("standing", {})
        return bool(standing and (standing["billing"]["pending"] or standing["account"]["told"]))

    def _documents(self) -> dict[str, Any]:
        try:
            with closing(sqlite3.connect(f"file:{self.state}/state.db?mode=ro", uri=True)) as state:
                return {
                    name: json.loads(text) for name, text in state.execute("SELECT name, document FROM usage_document")
                }
        except sqlite3.OperationalError:
            return {}  # not made yet


def _moved(counters: Mapping[str, int]) -> dict[str, int]:
    return {key: count for key, count in counters.items() if count}


@dataclass(frozen=True)
class BilledNodes:
    """The whole of it."""

    core: V2rayCore
    server: Killable[SteeredPlane]
    nodes: Mapping[str, UsageNode]

    def billed(self, node: UsageNode) -> dict[str, int]:
        """Bytes of each user on the node, as operators see them; without those that have none."""
        users = self.server.running.usage()["users"]
        return _moved({user["id"]: user["per_node"].get(node.id, 0) for user in users})

    def wait_read(self) -> Counter[str]:
        """What the core has counted, by label, once every agent has it on disk."""

        def all_read() -> tuple[Counter[str], ...]:
            counted = Counter(self.core.truth())
            return (counted,) if all(node.has_read(counted) for node in self.nodes.values()) else ()

        (counted,) = wait_until(all_read, "the last bytes to be read")
        return Counter(counted)

    def wait_reports(self, node: UsageNode, count: int) -> None:
        """Until so many more reports of the node were taken."""
        seen = {self._last_report(node)}

        def enough() -> bool:
            seen.add(self._last_report(node))
            return len(seen) > count

        wait_until(enough, f"{count} reports")

    def _last_report(self, node: UsageNode) -> str:
        (profile,) = (found for found in self.server.running.usage()["nodes"] if found["node_id"] == node.id)
        return str(profile["checked_at"])

    def wait_ready(self) -> None:
        """Until every agent has its first reading and has told it: from then on all traffic counts."""
        for node in self.nodes.values():
            wait_until(node.book, "the first reading")
            self.wait_reports(node, 1)


@contextmanager
def billed_nodes(
    place: Path, wire: str, names: Mapping[str, tuple[str, ...]], *, read_interval: str = "0.1s"
) -> Iterator[BilledNodes]:
    """Started, ready to count. ``names`` gives each node its entries of ``[usage.ids]``."""
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        core = stack.enter_context(v2ray_core(place / "core", LABELS))
        server = Killable(lambda: control_plane(place, wire=wire, port=port))
        stack.callback(server.kill)
        server.start()
        server.running.add_users(*USERS)
        nodes = {name: _node(place / name, server.running, core, ids, read_interval) for name, ids in names.items()}
        for node in nodes.values():
            stack.callback(node.agent.kill)
            node.agent.start()
        world = BilledNodes(core, server, nodes)
        world.wait_ready()
        yield world


def _node(place: Path, plane: SteeredPlane, core: V2rayCore, ids: tuple[str, ...], read_interval: str) -> UsageNode:
    place.mkdir()
    registered = plane.add_node()
    plane.count_usage_of(registered)
    site = Site(place, plane.url, registered)
    flags = ["-interval", "0.3s", "-proxy-usage-read-interval", read_interval, "--poll-interval", "5s"]
    flags += ["-proxy-usage-xray-api", core.address, *(word for one in ids for word in ("-proxy-usage-ids", one))]
    legal = {label: label for label in LABELS if "@" not in label} | dict(one.split("=") for one in ids)
    return UsageNode(registered.id, site.state, Killable(lambda: site.agent(*flags)), legal)
