"""One task in one cell: what is made of what happens, with a test at the other ends."""

import errno
import os
import select
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lattice_agent.errors import SandboxError
from lattice_agent.exec.cell_task import CellTask
from lattice_agent.exec.memory_watch import INTERVAL_MS
from lattice_agent.exec.outcome import Cause, Clock, Kind, Outcome, error_text
from tests.hostile.rig import OUTER_LIMIT_S
from tests.rigs.cells import StagedCell, a_plan, a_staged_cell

LIMIT = 10
EXITED_3 = 0x0300


class Heard:
    """What was told about output, in order."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, bytes]] = []

    def __call__(self, stream: str, data: bytes) -> None:
        self.pieces.append((stream, data))

    def of(self, stream: str) -> bytes:
        return b"".join(data for name, data in self.pieces if name == stream)


@contextmanager
def a_task(on_output: Heard | None = None, output_bytes: int = LIMIT) -> Iterator[tuple[StagedCell, CellTask]]:
    with a_staged_cell() as staged:
        plan = a_plan(":", output_bytes=output_bytes, memory_bytes=5 << 20)
        task = CellTask(plan, staged.ends, "/somewhere", on_output)
        task.attend()
        try:
            yield staged, task
        finally:
            task.close()


@pytest.fixture
def pair() -> Iterator[tuple[StagedCell, CellTask]]:
    with a_task() as pair:
        yield pair


def finish(staged: StagedCell, task: CellTask, **record: int) -> None:
    """The cell ends, with a record if one is given."""
    if record:
        staged.write_record(**record)
    staged.die()
    assert select.select([task.events], [], [], OUTER_LIMIT_S)[0]
    while not task.empty:
        task.turn(OUTER_LIMIT_S)


def outcome(task: CellTask, cause: Cause | None = None, *, hit: bool = False, peak: int = 0) -> Outcome:
    return task.outcome(1.5, cause, memory_peak=peak, memory_hit=hit)


def test_a_script_that_ends_by_itself(pair: tuple[StagedCell, CellTask]) -> None:
    staged, task = pair
    finish(staged, task, status=EXITED_3, killed=4, cpu_us=250_000, max_rss_kib=100)
    seen = outcome(task, peak=50)
    assert (seen.kind, seen.exit_code, seen.signal, seen.clock) == (Kind.EXITED, 3, None, None)
    assert (seen.wall_s, seen.cpu_s, seen.max_rss_bytes) == (1.5, 0.25, 102_400)
    assert (seen.sweeping.killed, seen.sweeping.uncertain) == (4, False)


@pytest.mark.parametrize(
    ("status", "cause", "hit", "kind", "clock"),
    [
        (signal.SIGSEGV, None, False, Kind.SIGNALLED, None),
        (signal.SIGXCPU, None, False, Kind.SIGNALLED, Clock.CPU),
        (EXITED_3, Cause.TIMEOUT, False, Kind.TIMED_OUT, Clock.WALL),
        (EXITED_3, Cause.CANCELLED, False, Kind.CANCELLED, None),
        (signal.SIGKILL, None, True, Kind.MEMORY_LIMIT, None),
        (None, None, True, Kind.MEMORY_LIMIT, None),
        (None, None, False, Kind.INTERRUPTED, None),
        (None, Cause.TIMEOUT, False, Kind.TIMED_OUT, Clock.WALL),
        (None, Cause.CANCELLED, False, Kind.CANCELLED, None),
    ],
)
def test_what_the_end_is_called(
    pair: tuple[StagedCell, CellTask],
    status: int | None,
    cause: Cause | None,
    hit: bool,
    kind: Kind,
    clock: Clock | None,
) -> None:
    staged, task = pair
    finish(staged, task, **({} if status is None else {"status": status}))
    seen = outcome(task, cause, hit=hit, peak=6 << 20)
    assert (seen.kind, seen.clock) == (kind, clock)
    assert seen.max_rss_bytes == 6 << 20
    assert seen.wall_s == 1.5


@pytest.mark.parametrize("status", [None, int(signal.SIGKILL)])
def test_a_memory_limit_is_named_however_the_cell_ended(pair: tuple[StagedCell, CellTask], status: int | None) -> None:
    staged, task = pair
    finish(staged, task, **({} if status is None else {"status": status}))
    assert error_text(outcome(task, hit=True)) == "signal: killed (memory limit exceeded: more than 5 MiB)"


@pytest.mark.parametrize("cause", [None, Cause.TIMEOUT])
def test_a_cell_that_is_not_empty_is_told_as_uncertain(pair: tuple[StagedCell, CellTask], cause: Cause | None) -> None:
    staged, task = pair
    staged.write_record(status=0)  # whatever is there: it is not the end
    seen = outcome(task, cause)
    assert seen.sweeping.uncertain
    assert seen.kind is (Kind.TIMED_OUT if cause else Kind.INTERRUPTED)


def test_a_launcher_that_failed_is_a_failure_to_start(pair: tuple[StagedCell, CellTask]) -> None:
    staged, task = pair
    staged.control.send(struct.pack("=i", errno.ENOENT))
    finish(staged, task, status=126 << 8)
    seen = outcome(task)
    assert (seen.kind, seen.message) == (Kind.FAILED_TO_START, "exec /bin/sh: No such file or directory")


def test_exit_code_126_alone_is_no_failure_to_start(pair: tuple[StagedCell, CellTask]) -> None:
    staged, task = pair
    finish(staged, task, status=126 << 8)
    assert outcome(task).exit_code == 126


def test_the_word_of_the_spawner_is_needed_where_it_has_looked_or_killed() -> None:
    with a_task() as (staged, task):
        assert task.needs_word(0.0)  # not empty yet
        finish(staged, task, status=0)
        assert not task.needs_word(INTERVAL_MS / 1000)
        assert task.needs_word(INTERVAL_MS / 1000 + 0.001)
    for ending in ({}, {"status": int(signal.SIGKILL)}):  # by whom it was killed only the spawner knows
        with a_task() as (staged, task):
            finish(staged, task, **ending)
            assert task.needs_word(0.0)


def test_output_is_kept_up_to_the_limit_and_counted_beyond() -> None:
    heard = Heard()
    with a_task(heard) as (staged, task):
        os.write(staged.stdout, b"0123456")
        task.turn()
        os.write(staged.stdout, b"789abcdef")
        os.write(staged.stderr, b"oops")
        task.turn()
        for _ in range(3):
            os.write(staged.stdout, b"x" * 30_000)
            task.turn()
        finish(staged, task, status=0)
        seen = outcome(task)
    assert (seen.stdout.kept, seen.stdout.produced) == (b"0123456789", 90_016)
    assert seen.stdout.beyond == b"abc"
    assert (seen.stderr.kept, seen.stderr.dropped) == (b"oops", 0)
    assert seen.kind is Kind.OUTPUT_LIMIT
    assert (heard.of("stdout"), heard.of("stderr")) == (b"0123456789", b"oops")


def test_output_is_told_as_it_comes() -> None:
    heard = Heard()
    with a_task(heard) as (staged, task):
        for stream, fd in [("stdout", staged.stdout), ("stderr", staged.stderr), ("stdout", staged.stdout)]:
            os.write(fd, stream[3:4].encode())
            task.turn(OUTER_LIMIT_S)
            assert heard.pieces[-1] == (stream, stream[3:4].encode())
    assert [stream for stream, _ in heard.pieces] == ["stdout", "stderr", "stdout"]


def test_what_is_in_the_pipes_at_the_end_is_told_and_kept() -> None:
    heard = Heard()
    with a_task(heard) as (staged, task):
        os.write(staged.stdout, b"last")
        staged.die()
        task.empty = True  # the end may be seen before the output
        seen = outcome(task, Cause.TIMEOUT)
    assert seen.stdout.kept == b"last"
    assert heard.pieces == [("stdout", b"last")]


def test_closed_streams_do_not_wake_it_again() -> None:
    with a_staged_cell() as staged:
        task = CellTask(a_plan(":"), staged.ends, "/somewhere")
        task.attend()
        os.dup2(staged.control.fileno(), staged.stdout)
        os.dup2(staged.control.fileno(), staged.stderr)
        task.turn()
        task.turn()
        assert not select.select([task.events], [], [], 0)[0]
        task.close()


def test_a_task_that_was_refused_says_so(pair: tuple[StagedCell, CellTask]) -> None:
    staged, task = pair
    staged.control.close()
    with pytest.raises(SandboxError, match="the cell is gone"):
        task.dispatch()
