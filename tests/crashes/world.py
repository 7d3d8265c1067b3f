"""A control plane, a node and an agent that are ended by SIGKILL again and again, and looks at what is left of them.

Scripts run in cells at level strict, which may write into one directory of the node; or at level host, if they ask for
it. The file of proxy usage moves whenever a test says so, and all of it is to be billed.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from lattice_agent.audit import history, verify
from lattice_agent.state.db import StateDirectory
from tests.crashes.hook import Fuse
from tests.crashes.orphans import Orphans, adopted
from tests.rigs.cells import a_place
from tests.rigs.real_processes import Gate, RunningAgent, Site, reserved_port, wait_until
from tests.rigs.steered_plane import Node, SteeredPlane, control_plane
from tests.rigs.usage_billing import Killable

USER: Final = "ann"
OUTPUT: Final = "one line of output"
HOST_HEADER: Final = "# lattice: level=host\n"
STATE_FILES: Final = {"lock", "state.db", "state.db-wal", "state.db-shm", "audit.log"}
PATIENCE_S: Final = 180.0
"""For anything at all, on a machine that is busy with other things. An agent whose stream is open polls once a minute:
a lease that died is found then."""
_FLAGS: Final = ("-interval", "0.5s", "-proxy-usage-read-interval", "0.2s", "--slots", "2")
_POLICY: Final = """
min_level = "host"
default_level = "strict"
[levels.strict]
writable = ["{shown}"]
[levels.host]
allowed = true
"""


@dataclass
class World:
    """Everything that there is, from the first life to the last. Made by ``a_world``."""

    place: Path
    fuse: Fuse
    site: Site
    server: Killable[SteeredPlane]
    agent: Killable[RunningAgent]
    absent: Node
    """A node without an agent."""
    _orphans: Orphans
    counted: int = 0
    """What the proxy has counted of its user so far."""

    @property
    def plane(self) -> SteeredPlane:
        return self.server.running

    # --- what happens in it ---

    def create(self, body: str = "", *, header: str = "", node: Node | None = None, **limits: int) -> str:
        """A task whose script says in a file that it begins and that it ends, and prints one line."""
        says = f'echo "$LATTICE_TASK_ID" >> {self.place}/shown'
        script = f"{header}{says}/began\n{body}\n{says}/ended\necho {OUTPUT}\n"
        return self.plane.create(node or self.site.node, script, timeout_sec=30, **limits)

    def began(self, task: str) -> int:
        """How often its script has begun."""
        return self._said("began")[task]

    def ended(self, task: str) -> int:
        """How often its script has come to its end."""
        return self._said("ended")[task]

    def _said(self, name: str) -> Counter[str]:
        return Counter((self.place / "shown" / name).read_text().split())

    def gate(self, name: str) -> Gate:
        """What a script waits for."""
        return Gate(self.place / "shown" / name)

    def count_traffic(self, size: int) -> None:
        """The proxy has moved so many bytes more: its file is replaced in one step."""
        self.counted += size
        uptime_s = int(time.clock_gettime(time.CLOCK_BOOTTIME))
        new = self.place / "usage.new"
        new.write_text(json.dumps({"user_bytes": {USER: self.counted}, "core_uptime_sec": uptime_s}))
        new.replace(self.place / "usage.json")

    def billed(self) -> int:
        """What the control plane has booked of it."""
        (user,) = (user for user in self.plane.usage()["users"] if user["id"] == USER)
        return int(user["per_node"].get(self.site.node.id, 0))

    # --- after a kill ---

    def revive(self) -> None:
        """Whatever has died is started again; a fuse that was not reached is taken away."""
        self.fuse.take_away()
        self.server.start()
        self.agent.start()

    def hand_out_again(self, task: str) -> None:
        """If it was handed out and did not arrive: the control plane has to see its lease die first."""
        if self.plane.task(task)["status"] == "leased" and task not in self.journal():
            self.plane.let_leases_die()

    def settled(self, task: str) -> dict[str, Any] | None:
        """The task if nothing more is to come of it."""
        shown = self.plane.task(task, wait_s=1)
        return None if shown["status"] in ("queued", "leased") else shown

    def journal(self) -> dict[str, str]:
        """Task id to phase, as the agent has it on disk."""
        return dict(self._on_disk("SELECT task_id, phase FROM task"))

    def has_read_usage(self) -> bool:
        """Whether the agent has a reading on disk."""
        return bool(self._on_disk("SELECT 1 FROM usage_document WHERE name LIKE 'source:%'"))

    def _on_disk(self, query: str) -> list[Any]:
        try:
            with closing(sqlite3.connect(f"file:{self.site.state}/state.db?mode=rw", uri=True)) as state:
                return state.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # not made yet

    # --- what is left ---

    def orphans(self) -> list[int]:
        """Living processes that belong to nobody any more."""
        ours = {self.server.running.process.pid} if self.server.runs else set()
        ours |= {self.agent.running.process.pid} if self.agent.runs else set()
        return self._orphans.living(ours)

    def left_behind(self) -> list[str]:
        """Mounts, work directories and files of the node that nobody uses."""
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.place) in line]
        files = {path.name for path in self.site.state.iterdir()} - STATE_FILES
        return [*mounts, *self.site.work_directories(), *sorted(files)]

    def audit_break(self) -> str:
        """Where the chain of the audit does not hold; empty if it does."""
        broken = verify(history(self.site.state / "audit.log"))
        return "" if broken is None else f"line {broken.line}: {broken.why}"

    def audited(self) -> set[str]:
        """Tasks whose decision is in the audit."""
        records = (json.loads(line) for line in (self.site.state / "audit.log").read_text().splitlines())
        return {record["fields"]["task_id"] for record in records if record["event"] == "task.decided"}

    def state_is_sound(self) -> bool:
        """Whether state.db opens with the agent's own code and SQLite finds nothing wrong. After the last life."""
        state = StateDirectory(self.site.state)
        try:
            return bool(state.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])
        finally:
            state.close()


@contextmanager
def a_world(wire: str) -> Iterator[World]:
    """Started, with an agent that is ready and a first report of usage that is answered."""
    with ExitStack() as stack:
        place = stack.enter_context(a_place())
        orphans = stack.enter_context(adopted())
        port = stack.enter_context(reserved_port())
        fuse = Fuse(place / "fuse")
        server = Killable(partial(control_plane, place, wire=wire, port=port, fuse=fuse.path))
        stack.callback(server.kill)
        server.start()
        site = Site(place, server.running.url, server.running.add_node())
        agent = Killable(lambda: site.agent(*_flags(place), steered_by=server.running, fuse=fuse.path))
        stack.callback(agent.kill)
        world = World(place, fuse, site, server, agent, server.running.add_node(), orphans)
        _set_up(world)
        yield world


def _flags(place: Path) -> tuple[str, ...]:
    return (*_FLAGS, "--policy", str(place / "strict.toml"), "-proxy-usage-file", str(place / "usage.json"))


def _set_up(world: World) -> None:
    shown = world.place / "shown"
    shown.mkdir()
    shown.chmod(0o777)
    for name in ("began", "ended"):
        (shown / name).touch()
        (shown / name).chmod(0o666)
    (world.place / "strict.toml").write_text(_POLICY.format(shown=shown))
    world.plane.add_users(USER)
    world.plane.count_usage_of(world.site.node)
    world.count_traffic(0)
    world.agent.start()
    wait_until(world.has_read_usage, "the first reading", PATIENCE_S)  # what was moved before it is not counted
    world.count_traffic(1000)
    world.agent.running.wait_log('"ready"')
    wait_until(lambda: world.billed() == world.counted, "usage to be billed", PATIENCE_S)
