"""The command ``lattice-agent`` that kills itself: ``python -I agent_program.py STEERING FUSE POINT FLAGS...``

The program is the production one, its restart included. In the restarted process the clock that leases are judged by
follows the steering file, and both FUSE and POINT may be empty.

FUSE: the crash points of ``tests.crashes.points`` are compiled in, here and in the spawner; this file is their fuse.

POINT: the process ends around one commit of its journal. The journal notes which transition is being written, and the
database connection sends SIGKILL around the COMMIT that makes it durable.

A transition is named by its phases, "waiting to running", and where the phase stays by what changes in it: "running
adopted" (a new lease id) and "finished shrunk" (a smaller result).
"""

import os
import signal
import sqlite3
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
ANY = "any"


@dataclass(frozen=True)
class Transition:
    """Where to die: ``when`` is ``before`` or ``after`` the commit of the ``number``-th such transition."""

    transition: str
    when: str
    number: int = 1

    def __str__(self) -> str:
        return f"{self.when}:{self.number}:{self.transition}"

    @classmethod
    def parse(cls, text: str) -> "Transition":
        when, number, transition = text.split(":")
        return cls(transition, when, int(number))


class Watch:
    """Counts the transitions that are written; ``due`` once the transaction holds the one to die at."""

    def __init__(self, point: Transition) -> None:
        self.point = point
        self._left = point.number

    def note(self, transition: str) -> None:
        if self.point.transition in (ANY, transition):
            self._left -= 1

    @property
    def due(self) -> bool:
        return self._left <= 0


class DyingConnection(sqlite3.Connection):
    """Ends the process around the COMMIT that the watch waits for."""

    watch: Watch

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        due = sql == "COMMIT" and self.watch.due
        if due and self.watch.point.when == "before":
            die()
        cursor = super().execute(sql, *parameters)
        if due:
            die()
        return cursor


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def transition(before: Any, after: Any) -> str:
    """The name of what changes between two rows; ``before`` is None for a task that was not known."""
    if before is None:
        return f"new to {after.phase}"
    if before.phase is not after.phase:
        return f"{before.phase} to {after.phase}"
    return f"{after.phase} {'shrunk' if before.shrunk != after.shrunk else 'adopted'}"


def die_at(point: Transition) -> None:
    from lattice_agent.state.journal import Journal, TaskRow

    DyingConnection.watch = watch = Watch(point)
    put = Journal.put

    def put_and_note(journal: Journal, row: TaskRow) -> TaskRow:
        before = journal.get(row.task_id)
        stored = put(journal, row)
        watch.note(transition(before, stored))
        return stored

    sqlite3.connect = partial(sqlite3.connect, factory=DyingConnection)  # type: ignore[assignment]
    Journal.put = put_and_note  # type: ignore[method-assign,assignment]


def follow_clock(file: Path) -> None:
    from lattice_agent.state import clock
    from tests.rigs import steering

    real = clock.boot_time

    def boot_time() -> clock.BootTime:
        now = real()
        return clock.BootTime(now.boot_id, now.seconds + steering.read(file).ahead_s)

    clock.boot_time = boot_time  # before ``app`` takes it from there


def compile_points_in(fuse: str) -> None:
    """Here, and in every spawner that is started from here."""
    from tests.crashes import hook, points

    hook.install(points.POINTS, Path(fuse))
    from lattice_agent.exec import launch

    program = launch._program

    def program_with_points(fd: int) -> str:
        system, places, rest = program(fd).split("; ", 2)  # only then it knows where to import from
        imports = "from pathlib import Path; from tests.crashes import hook, points"
        return f"{system}; {places}; {imports}; hook.install(points.POINTS, Path({fuse!r})); {rest}"

    launch._program = program_with_points


def restart_here(steering_path: str, fuse: str, point: str) -> None:
    """The agent's restart of itself leads back to this program."""
    execve = os.execve

    def restart(path: str, argv: list[str], environ: dict[str, str]) -> NoReturn:
        execve(path, [path, "-I", __file__, steering_path, fuse, point, argv[-1]], environ)

    os.execve = restart  # type: ignore[assignment]


def main() -> int:
    steering_path, fuse, point, *words = sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    sys.argv = ["lattice-agent", *words]
    from lattice_agent.cli import main as command
    from lattice_agent.cli.scrub import resume_descriptor

    if resume_descriptor(words) is None:
        restart_here(steering_path, fuse, point)
        return command()
    if fuse:
        compile_points_in(fuse)
    follow_clock(Path(steering_path))
    if point:
        die_at(Transition.parse(point))
    return command()


if __name__ == "__main__":
    sys.exit(main())
