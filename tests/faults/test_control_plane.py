"""The control plane's own faults: a disk that is full or read-only, no descriptor left, callers that dawdle."""

import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.mounts import fill, own_mounts, small_disk
from tests.faults.observed import BUSY_MOST, GROWN_MOST, Watch, cpu_s, resident_kib
from tests.faults.table import note
from tests.rigs.real_processes import LIMIT_S, Site, wait_until
from tests.rigs.server_process import serving, started
from tests.rigs.steered_plane import Plane

pytestmark = [pytest.mark.needs_root, pytest.mark.long]

COMMAND = Path(sys.executable).with_name("lattice-control")
EX_IOERR = 74
MORE_FILES, CALLERS = 20, 60
DAWDLERS = 500
STEP_S = 5.0
HEAD_S = 30.0
PROMPT_S = 5.0
PLAIN = b"GET /api/health HTTP/1.1\r\nHost: control\r\n\r\n"
ENDLESS_HEAD = b"GET / HTTP/1.1\r\nX: "


@dataclass(frozen=True)
class Served:
    """A control plane of the test's own."""

    plane: Plane
    pid: int
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def connect(self) -> socket.socket:
        place = urlsplit(self.plane.url)
        return socket.create_connection((place.hostname or "", place.port or 0), LIMIT_S)


@contextmanager
def served(place: Path, database: Path, *prefix: str) -> Iterator[Served]:
    token, log = place / "token-of-the-operator", place / "control.log"
    command = serving(db_path=str(database), init_token_file=str(token))
    with started([*prefix, "sh", "-c", f'exec "$@" 2> "{log}"', "sh", *command]) as running:
        with closing(Plane(running.url, token.read_text().strip())) as plane:
            yield Served(plane, running.process.pid, log)


class Cost:
    """Of a process, from the moment this is made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began, self._cpu_s, self._kib = time.monotonic(), cpu_s(pid), resident_kib(pid)

    def assert_small(self) -> str:
        seconds = time.monotonic() - self._began
        share = (cpu_s(self._pid) - self._cpu_s) / seconds
        grown = resident_kib(self._pid) - self._kib
        assert share < BUSY_MOST, f"{share:.0%} of a processor"
        assert grown < 2 * GROWN_MOST, f"{grown} KiB more"
        return f"{seconds:.1f} s, CPU {share:.0%}, {grown:+d} KiB"


def test_its_disk_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with own_mounts(small_disk(disk)) as mounts, served(tmp_path, disk / "control.db", *mounts.enter) as control:
        plane = control.plane
        site = Site(tmp_path, plane.url, plane.add_node())
        with site.agent("--slots", "2") as agent:
            gate = site.gate("both")
            tasks = [plane.create(site.node, site.script(f"{gate.wait}; echo done")) for _ in range(2)]
            site.wait_starts(2)
            filler = fill(mounts.path(disk))
            cost, watch, before = Cost(control.pid), Watch(agent), len(control.lines())
            gate.open()
            site.wait_phase("finished", 2)
            seen = watch.until(lambda: "agent/metrics: broken: status 500" in agent.log_text(), "a refused heartbeat")
            seen.assert_calm(lines=6)
            refused = plane._api.post("/api/v1/tasks", json={"node": site.node.id, "script": "true"})
            assert refused.status_code == 500
            assert plane._api.get("/readyz").status_code == 503
            assert plane.task(tasks[0])["status"] == "leased"  # what needs no write is answered
            said = control.lines()[before:]
            assert len(said) <= 2, "\n".join(said)
            assert "database or disk is full" in said[0]
            assert "free space" in said[0]
            spent = cost.assert_small()
            filler.unlink()
            assert [plane.result(task)["stdout"] for task in tasks] == ["done\n"] * 2
            assert plane._api.get("/readyz").status_code == 200
            assert plane.stored(site.node) == dict.fromkeys(tasks, 1)
            assert site.started_once_at_most()
            assert agent.stop() == 0
        assert any("the database works again" in line for line in control.lines())
    note(
        "disk full",
        plane=f"what writes is answered 500, what reads is answered, `/readyz` says 503; told once; agents keep their"
        f" results, and nodes are shown offline after 90 s. Afterwards it goes on by itself ({spent})",
    )


def test_its_disk_is_read_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with own_mounts(small_disk(disk, options=("ro",))) as mounts:
        command = [*mounts.enter, COMMAND, "serve", "--db", disk / "control.db", "--listen", "127.0.0.1:0"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == EX_IOERR
    assert f"database {disk}/control.db: Read-only file system" in ended.stderr
    assert "Traceback" not in ended.stderr
    note(
        "read-only state directory",
        plane="a start ends with code 74 and names the file; while it runs, as with a full disk",
    )


def test_it_has_no_descriptor_left(tmp_path: Path) -> None:
    """As many connections as it may have files, and more: those beyond are closed at once, the others are served."""
    with served(tmp_path, tmp_path / "control.db") as control:
        plane = control.plane
        site = Site(tmp_path, plane.url, plane.add_node())
        with site.agent("--slots", "2") as agent, ExitStack() as callers:
            plane.result(plane.create(site.node, "echo before"))
            before = resource.prlimit(control.pid, resource.RLIMIT_NOFILE)
            most = len(os.listdir(f"/proc/{control.pid}/fd")) + MORE_FILES
            resource.prlimit(control.pid, resource.RLIMIT_NOFILE, (most, before[1]))
            cost, watch = Cost(control.pid), Watch(agent)
            turned_away = sum(_is_turned_away(callers.enter_context(control.connect())) for _ in range(CALLERS))
            assert turned_away >= CALLERS - MORE_FILES
            task = plane.create(site.node, site.script("echo during"))
            assert plane.result(task)["stdout"] == "during\n"
            watch.until(lambda: True, "the end").assert_calm(lines=2)
            spent = cost.assert_small()
            assert len(control.lines()) <= 3, control.lines()
            callers.close()
            wait_until(lambda: not _calls_in_vain(control), "a connection that is served")
            assert agent.stop() == 0
    note(
        "EMFILE",
        plane=f"connections beyond the limit are closed at once; those there are, and their agents, are served"
        f" ({spent}). Afterwards new ones are taken, without a restart",
    )


def _calls_in_vain(control: Served) -> bool:
    with control.connect() as caller:
        return _is_turned_away(caller)


def _is_turned_away(caller: socket.socket) -> bool:
    """Whether a connection ends without an answer."""
    try:
        caller.sendall(PLAIN)
        return not caller.recv(1)
    except ConnectionError:
        return True


def test_slow_loris_clients(tmp_path: Path) -> None:
    """Hundreds that never come to the end of their head: each is cut off after 30 s, and nobody else waits."""
    with served(tmp_path, tmp_path / "control.db") as control, ExitStack() as opened:
        cost = Cost(control.pid)
        dawdlers = {each.fileno(): each for each in (opened.enter_context(control.connect()) for _ in range(DAWDLERS))}
        ends = select.poll()
        for number in dawdlers:
            ends.register(number, select.POLLIN | select.POLLHUP)
        began, at = time.monotonic(), 0
        while dawdlers:
            assert time.monotonic() - began < HEAD_S + LIMIT_S, f"{len(dawdlers)} are still there"
            for dawdler in dawdlers.values():
                _dribble(dawdler, at)
            at += 1
            asked = time.monotonic()
            assert control.plane._api.get("/api/v1/nodes").status_code == 200
            assert time.monotonic() - asked < PROMPT_S
            for number, _ in ends.poll(STEP_S * 1000):
                ends.unregister(number)
                dawdlers.pop(number)
        spent = cost.assert_small()
        assert not control.lines()[1:], control.lines()
    note(
        "slow-loris",
        plane=f"a head has 30 s, then its connection ends; {DAWDLERS} such callers keep nobody waiting ({spent})",
    )


def _dribble(dawdler: socket.socket, at: int) -> None:
    with suppress(ConnectionError):  # cut off: poll says so
        dawdler.send(ENDLESS_HEAD[at : at + 1] or b"a")
