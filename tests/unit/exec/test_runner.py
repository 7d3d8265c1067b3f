"""What a runner gives back: descriptors, processes, threads, directories; and what it does when it has none left."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from lattice_agent.exec import cell_pool
from lattice_agent.exec import runner as runner_module
from lattice_agent.exec.capture import Stream
from lattice_agent.exec.outcome import Kind
from lattice_agent.exec.plan import Level, Profile
from lattice_agent.exec.requests import MAX_BYTES
from lattice_agent.exec.runner import Runner
from tests.hostile.rig import a_runner, children_of, marker, plan, wait_until
from tests.rigs.cells import PLAIN, a_cell_runner, a_place, a_plan
from tests.rigs.extent import mostly_long


def open_descriptors(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_runs_leave_no_descriptor_process_thread_or_directory(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with a_runner() as runner:
        await runner.run(plan("exit 0", work_root=str(root)))
        before = open_descriptors(), open_descriptors(runner.spawner_pid), threading.active_count()
        for script in ["exit 0", "echo x; exit 1", "setsid sleep 60 & exit 0", "kill -KILL $PPID; sleep 60"] * 5:
            await runner.run(plan(script, work_root=str(root)))
        await wait_until(lambda: not children_of(runner.spawner_pid))
        assert (open_descriptors(), open_descriptors(runner.spawner_pid), threading.active_count()) == before
    assert list(root.iterdir()) == []


@contextmanager
def only_free_descriptors(count: int) -> Iterator[None]:
    """Exactly ``count`` more can be opened, whatever gaps this process has in its numbers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers: list[int] = []
    while not fillers or fillers[-1] <= highest:
        fillers.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1 + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)


@pytest.mark.parametrize("count", range(7))
async def test_without_descriptors_a_run_fails_to_start_and_leaves_nothing(tmp_path: Path, count: int) -> None:
    # One for the work directory, two for the control pair, four for the pipes: seven are the least that can do.
    root = tmp_path / "root"
    async with a_runner() as runner:
        await runner.run(plan("exit 0", work_root=str(root)))
        before = open_descriptors()
        with only_free_descriptors(count):
            outcome = await runner.run(plan("exit 0", work_root=str(root)))
        assert outcome.kind is Kind.FAILED_TO_START
        assert "Too many open files" in outcome.message
        assert open_descriptors() == before
        assert list(root.iterdir()) == []
        assert (await runner.run(plan("exit 0", work_root=str(root)))).kind is Kind.EXITED


@pytest.mark.needs_root
@pytest.mark.parametrize("profile", [PLAIN, Profile(Level.LANDLOCK)])
async def test_runs_in_cells_leave_no_descriptor_process_thread_or_directory(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_pool, "REVIEW_S", 0.02)
    scripts = ["exit 0", "echo x; exit 1", "setsid sleep 60 & exit 0", "kill -KILL $$", "exec >&- 2>&-; sleep 0.02"]

    async def run_all() -> tuple[int, int, int]:
        """What there is afterwards, when no cell is ready any more."""
        runner.keep_ready(PLAIN)
        for script in scripts * 3:
            await runner.run(replace(a_plan(script, profile), work_root=os.fspath(root)))
        runner.keep_ready(None)
        await wait_until(lambda: not children_of(runner.spawner_pid) and not namespaces_held(runner.spawner_pid))
        await wait_until(lambda: not runner._link.cells._pools)
        return open_descriptors(), open_descriptors(runner.spawner_pid), threading.active_count()

    with a_place() as root:
        async with a_cell_runner() as runner:
            assert await run_all() == await run_all()
        assert os.listdir(root) == []


def namespaces_held(pid: int) -> int:
    """Namespaces of cells that the spawner still holds: it lets go of them when it has nothing else to do."""
    held = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held += os.readlink(entry).startswith("net:")
    return held


@pytest.mark.needs_root
@pytest.mark.parametrize("count", mostly_long((3, 0, 1, 2, 4, 5, 6)))
async def test_without_descriptors_a_run_in_a_cell_leaves_nothing_and_the_next_one_is_served(count: int) -> None:
    async with a_cell_runner() as runner:
        await runner.run(a_plan("exit 0"))
        runner.keep_ready(PLAIN)
        await wait_until(lambda: ready_cells(runner) == 2)
        before = open_descriptors()
        with only_free_descriptors(count):
            outcome = await runner.run(a_plan("exit 0"))
        assert outcome.kind in (Kind.EXITED, Kind.FAILED_TO_START), outcome
        if outcome.kind is Kind.FAILED_TO_START:
            assert "Too many open files" in outcome.message
            assert "None" not in outcome.message
        assert (await runner.run(a_plan("exit 0"))).kind is Kind.EXITED
        await wait_until(lambda: ready_cells(runner) == 2)
        assert open_descriptors() == before


@pytest.mark.needs_root
@pytest.mark.long
async def test_a_cell_that_could_not_be_received_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its descriptors found no room; it ends, and what was to be kept ready is ready all the same, soon."""
    monkeypatch.setattr(cell_pool, "REVIEW_S", 0.05)
    async with a_cell_runner() as runner:
        await runner.run(a_plan("exit 0"))
        with only_free_descriptors(3), trio.move_on_after(0.5):
            runner.keep_ready(PLAIN)
            await trio.sleep_forever()
        with trio.fail_after(12):
            await wait_until(lambda: ready_cells(runner) == 2)


def ready_cells(runner: Runner) -> int:
    """As the runner counts them."""
    pool = runner._link.cells._pools.get(PLAIN)
    return len(pool.ready) if pool else 0


async def test_a_plan_that_fits_no_message_fails_to_start() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("exit 0", run_id=marker() + "x" * MAX_BYTES))
    assert outcome.kind is Kind.FAILED_TO_START
    assert "more than" in outcome.message


async def test_a_directory_that_takes_long_to_remove_does_not_delay_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "REMOVE_S", 0.0)
    root = tmp_path / "root"
    script = "i=0; while [ $i -lt 600 ]; do : > f$i; i=$((i+1)); done"
    async with a_runner() as runner:
        assert (await runner.run(plan(script, work_root=str(root)))).kind is Kind.EXITED
        [left] = root.iterdir()
        assert len(list(left.iterdir())) > 300
        await wait_until(lambda: not list(root.iterdir()))


async def test_a_fault_of_ours_ends_the_run_and_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_supervision: object) -> None:
        raise RuntimeError("our fault")

    root = tmp_path / "root"
    async with a_runner() as runner:
        before = open_descriptors()
        monkeypatch.setattr(runner_module, "_conduct", broken)
        with pytest.raises(RuntimeError, match="our fault"):
            await runner.run(plan("exit 0", work_root=str(root)))
        assert open_descriptors() == before
    assert list(root.iterdir()) == []


async def test_what_is_in_the_pipe_when_the_run_ends_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asleep(_stream: Stream) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Stream, "pump", asleep)
    async with a_runner() as runner:
        outcome = await runner.run(plan("echo last words; echo and errors >&2"))
    assert (outcome.stdout.kept, outcome.stderr.kept) == (b"last words\n", b"and errors\n")
