"""The processes under test: a control plane and agents, as they are installed, with TLS between them.

A control plane of the soak keeps less than it does by default, so that what is bounded reaches its bound while somebody
looks; the code is the same. Everything here is synchronous, and called in threads.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.hostile.rig import children_of
from tests.rigs.real_processes import COMMAND, RunningAgent, Site, reserved_port
from tests.rigs.server_process import ROOT, serving
from tests.rigs.steered_plane import Node
from tests.rigs.transport import Authority, Identity
from tests.rigs.usage_billing import Killable
from tests.soak.kinds import NODE_VARIABLE

START_S: Final = 60.0
"""A machine that is busy with other things starts a control plane in seconds."""
SLOTS: Final = 4
BEAT_S: Final = 2.0
POLICY: Final = """
host_linger_s = 5
[levels.strict]
writable = ["{starts}"]
environment = ["{variable}"]
[levels.network]
allowed = true
writable = ["{starts}"]
environment = ["{variable}"]
[levels.host]
allowed = true
environment = ["{variable}"]
"""


@dataclass(frozen=True)
class Place:
    """Where everything of one soak lies. It must not be below /tmp: a cell has a /tmp of its own."""

    path: Path

    @property
    def starts(self) -> Path:
        """The file in which scripts count their starts; every uid may write to it."""
        return self.path / "starts" / "marks"

    @property
    def database(self) -> Path:
        return self.path / "control.db"

    @property
    def operator(self) -> Path:
        return self.path / "operator.token"

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def make(self) -> None:
        self.starts.parent.mkdir(parents=True)
        self.starts.parent.chmod(0o777)
        self.starts.touch()
        self.starts.chmod(0o666)


class Server:
    """``lattice-control serve`` on one port and one database, life after life."""

    def __init__(self, place: Place, port: int, identity: Identity, limits: Mapping[str, int]) -> None:
        self._place, self._ready = place, place.path / "ready"
        self.port = port
        self._command = serving(
            db_path=str(place.database), port=port, init_token_file=str(place.operator), ready_file=str(self._ready),
            tls_cert=str(identity.certificate), tls_key=str(identity.key), limits=dict(limits),
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.lives = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Until it accepts connections."""
        self._ready.unlink(missing_ok=True)
        with self._place.log("control").open("ab") as log:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=ROOT, env=environment)
        self.lives += 1
        deadline = time.monotonic() + START_S
        while not self._ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the control plane does not start; see {self._place.log('control')}")
            time.sleep(0.02)

    def end(self, number: int) -> None:
        """By this signal."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(START_S)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            raise RuntimeError("the control plane does not stop") from error

    def restart(self, number: int) -> None:
        self.end(number)
        self.start()


@dataclass
class Agent:
    """An agent and what it leaves on disk, life after life."""

    site: Site
    flags: Sequence[str]
    program: Sequence[str | Path] = (COMMAND,)
    lives: int = 0
    _life: Killable[RunningAgent] = field(init=False)

    def __post_init__(self) -> None:
        own = {NODE_VARIABLE: self.id}
        self._life = Killable(lambda: self.site.process([*self.program, *self.site.command(*self.flags)], **own))

    @property
    def id(self) -> str:
        return self.site.node.id

    @property
    def pid(self) -> int | None:
        if not self._life.runs:
            return None
        process = self._life.running.process
        return process.pid if process.poll() is None else None

    @property
    def spawner(self) -> int | None:
        """The present one: it may have died since the agent's start."""
        pid = self.pid
        try:
            found = [] if pid is None else [child for child in children_of(pid) if _name(child) == "lattice-spawn"]
        except OSError:
            return None
        return found[0] if found else None

    @property
    def logs(self) -> list[Path]:
        return sorted(self.site.place.glob("agent-*.log"))

    def start(self) -> None:
        self.lives += 1
        self._life.start()

    def kill(self) -> None:
        """SIGKILL."""
        self._life.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def kill_spawner(self) -> None:
        if (pid := self.spawner) is not None:
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        code = self._life.running.stop() if self._life.runs else None
        self._life.kill()
        return code


@dataclass
class Plant:
    """All of them."""

    place: Place
    authority: Authority
    identity: Identity
    server: Server
    agents: dict[str, Agent] = field(default_factory=dict)

    def add_agent(self, node: Node, wire_port: int, core: str, program: Sequence[str | Path] = (COMMAND,)) -> Agent:
        """Not started."""
        folder = self.place.path / node.id
        folder.mkdir()
        policy = folder / "soak-policy.toml"
        policy.write_text(POLICY.format(starts=self.place.starts.parent, variable=NODE_VARIABLE))
        flags = ["--policy", str(policy), "-ca-file", str(self.authority.certificate), "-slots", str(SLOTS)]
        flags += ["-interval", f"{BEAT_S}s", "-poll-interval", "2s", "-poll-interval-busy", "1s"]
        flags += ["-proxy-usage-xray-api", core, "-proxy-usage-read-interval", "1s"]
        agent = Agent(Site(folder, f"https://127.0.0.1:{wire_port}", node), flags, program)
        self.agents[node.id] = agent
        return agent

    def end(self) -> None:
        """Kills what is left."""
        for agent in self.agents.values():
            agent.kill()
        self.server.end(signal.SIGKILL)


def make_plant(stack: ExitStack, place: Place, limits: Mapping[str, int]) -> Plant:
    """With a control plane that runs, and no agent yet. All of it is killed with the stack."""
    place.make()
    authority = Authority(place.path)
    identity = authority.issue("control", alternatives="IP:127.0.0.1")
    port = stack.enter_context(reserved_port())
    plant = Plant(place, authority, identity, Server(place, port, identity, limits))
    stack.callback(plant.end)
    plant.server.start()
    return plant


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
