"""One run in a real cell: clocks, cancellation, limits, output, and what is left when something of ours dies."""

import os
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from lattice_agent.exec import cell_run
from lattice_agent.exec.outcome import Clock, Kind, Outcome
from lattice_agent.exec.plan import Level, Plan, Profile
from lattice_agent.exec.runner import Runner
from tests.hostile.rig import alive, wait_until
from tests.rigs.cells import a_cell_runner, a_place, a_plan, children_if_any, runs_a_script
from tests.rigs.extent import mostly_long

pytestmark = pytest.mark.needs_root

LANDLOCK = Profile(Level.LANDLOCK)
NETWORK = Profile(Level.NETWORK)
STRICT = Profile(Level.STRICT)
LEVELS = [STRICT, LANDLOCK]
"""The two ways of ending a cell: with its pid namespace, and by its init. NETWORK ends as STRICT does."""
LOOP = "while :; do sleep 0.02; done"
IGNORES = f"trap '' TERM; echo up; {LOOP}"
OBEYS = f"trap 'echo asked; exit 5' TERM; echo up; {LOOP}"


class Running:
    """A run in the background of a test."""

    def __init__(self, runner: Runner, plan: Plan) -> None:
        self._runner = runner
        self._plan = plan
        self.scope = trio.CancelScope()
        self.outcome: Outcome | None = None
        self.output = b""
        self.cancelled_before = False
        self._said = trio.Event()
        self._over = trio.Event()

    async def __call__(self) -> None:
        with self.scope:
            self.outcome = await self._runner.run(self._plan, self._heard)
        self.cancelled_before = self.outcome is None
        self._over.set()

    def _heard(self, _stream: str, data: bytes) -> None:
        self.output += data
        self._said.set()

    async def up(self) -> None:
        """Until the script has said something."""
        await self._said.wait()

    async def end(self) -> Outcome:
        """Its outcome."""
        await self._over.wait()
        assert self.outcome is not None
        return self.outcome


@asynccontextmanager
async def running(*plans: Plan) -> AsyncGenerator[tuple[Runner, list[Running]], None]:
    """Runs that are up."""
    async with a_cell_runner() as runner, trio.open_nursery() as nursery:
        runs = [Running(runner, plan) for plan in plans]
        for run in runs:
            nursery.start_soon(run)
        for run in runs:
            await run.up()
        yield runner, runs


def changed(plan: Plan, **changes: Any) -> Plan:
    """The plan with other fields."""
    return replace(plan, **changes)


async def one(plan: Plan) -> Outcome:
    async with a_cell_runner() as runner:
        return await runner.run(plan)


def inits(runner: Runner) -> list[int]:
    """Cells of the runner: ready ones, too."""
    return children_if_any(runner.spawner_pid)


# --- clocks ---


@pytest.mark.parametrize("profile", mostly_long(LEVELS))
async def test_a_script_whose_time_is_over_is_asked_first(profile: Profile) -> None:
    outcome = await one(a_plan(OBEYS, profile, wall_s=0.3, grace_s=5.0))
    assert (outcome.kind, outcome.clock, outcome.exit_code) == (Kind.TIMED_OUT, Clock.WALL, 5)
    assert outcome.stdout.kept == b"up\nasked\n"
    assert 0.3 <= outcome.wall_s < 3
    assert not outcome.sweeping.uncertain


@pytest.mark.parametrize("profile", mostly_long(LEVELS))
async def test_a_script_that_does_not_listen_is_killed_after_its_grace(profile: Profile) -> None:
    outcome = await one(a_plan(IGNORES, profile, wall_s=0.3, grace_s=0.4))
    assert (outcome.kind, outcome.clock) == (Kind.TIMED_OUT, Clock.WALL)
    assert outcome.exit_code is None
    assert 0.7 <= outcome.wall_s < 3
    assert not outcome.sweeping.uncertain


async def test_children_that_do_not_listen_are_killed_too() -> None:
    script = f"(trap '' TERM; setsid sh -c '{LOOP}') & echo up; wait"
    async with a_cell_runner() as runner:
        outcome = await runner.run(a_plan(script, wall_s=0.2, grace_s=0.1))
        assert outcome.kind is Kind.TIMED_OUT
        with trio.fail_after(10):
            await wait_until(lambda: all(len(children_if_any(init)) <= 1 for init in inits(runner)))


@pytest.mark.long
async def test_processor_time_has_its_own_limit() -> None:
    outcome = await one(a_plan("while :; do :; done", cpu_s=1, wall_s=15.0))
    assert (outcome.kind, outcome.clock, outcome.signal) == (Kind.SIGNALLED, Clock.CPU, signal.SIGXCPU)
    assert 0.5 < outcome.cpu_s < 2.5  # the limit counts whole ticks of the timer, the outcome what was used of them


# --- cancellation ---


@pytest.mark.parametrize("profile", mostly_long(LEVELS))
async def test_cancelling_ends_the_script_and_gives_its_outcome(profile: Profile) -> None:
    async with running(a_plan(OBEYS, profile, grace_s=5.0)) as (_runner, [run]):
        run.scope.cancel()
        outcome = await run.end()
        assert outcome.kind is Kind.CANCELLED
        assert outcome.exit_code == 5
        assert outcome.stdout.kept == b"up\nasked\n"
        assert not run.scope.cancelled_caught  # the caller has the outcome; the next checkpoint is where it ends


async def test_a_cancelled_script_that_does_not_listen_is_killed_after_its_grace() -> None:
    async with running(a_plan(IGNORES, grace_s=0.2)) as (_runner, [run]):
        started = trio.current_time()
        run.scope.cancel()
        outcome = await run.end()
        assert outcome.kind is Kind.CANCELLED
        assert 0.2 <= trio.current_time() - started < 3


async def test_cancellation_before_anything_was_started_is_raised() -> None:
    async with a_cell_runner() as runner:
        with trio.CancelScope() as scope:
            scope.cancel()
            await runner.run(a_plan("echo ran"))
        assert scope.cancelled_caught
        assert not inits(runner)


@pytest.mark.parametrize("profile", mostly_long(LEVELS))
async def test_cancelling_who_waits_for_a_cell_leaves_nothing(profile: Profile) -> None:
    async with a_cell_runner() as runner, trio.open_nursery() as nursery:
        before = os.listdir("/proc/self/fd")
        run = Running(runner, a_plan("echo ran", profile))
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        run.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert run.cancelled_before
        runner.keep_ready(STRICT)  # what comes now is used or given up
        runner.keep_ready(None)
        with trio.fail_after(15):
            await wait_until(lambda: not inits(runner))
        assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_scripts_end_in_the_scope_of_their_caller() -> None:
    async with a_cell_runner() as runner:
        with trio.move_on_after(0.5) as scope:
            outcome = await runner.run(a_plan(OBEYS, grace_s=5.0))
            assert outcome.kind is Kind.CANCELLED
            await trio.lowlevel.checkpoint()
            pytest.fail("the cancellation is forgotten")
        assert scope.cancelled_caught


# --- output ---


async def test_output_comes_while_the_script_runs_in_its_order() -> None:
    pieces: list[tuple[str, bytes]] = []
    script = "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three"
    async with a_cell_runner() as runner:
        outcome = await runner.run(a_plan(script), lambda stream, data: pieces.append((stream, data)))
    assert pieces == [("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three\n")]
    assert (outcome.stdout.kept, outcome.stderr.kept) == (b"one\nthree\n", b"two\n")


async def test_of_a_flood_the_beginning_is_kept_and_all_of_it_is_counted() -> None:
    amount = 64 << 20
    pieces: list[bytes] = []
    async with a_cell_runner() as runner:
        plan = a_plan(f"yes | head -c {amount}; echo end >&2", output_bytes=1000)
        outcome = await runner.run(plan, lambda stream, data: pieces.append(data) if stream == "stdout" else None)
    assert outcome.kind is Kind.OUTPUT_LIMIT
    assert (outcome.stdout.kept, outcome.stdout.produced) == (b"y\n" * 500, amount)
    assert b"".join(pieces) == b"y\n" * 500
    assert outcome.stderr.kept == b"end\n"


async def test_a_flood_does_not_hold_others_up() -> None:
    async with running(a_plan("exec yes", output_bytes=10)) as (runner, [run]):
        for _ in range(3):
            assert (await runner.run(a_plan("echo hi"))).stdout.kept == b"hi\n"
        run.scope.cancel()
        assert (await run.end()).stdout.produced > 10


@pytest.mark.parametrize("profile", mostly_long(LEVELS))
async def test_what_holds_or_closes_its_streams_changes_nothing(profile: Profile) -> None:
    async with a_cell_runner() as runner:
        holding = await runner.run(a_plan("echo a; setsid sleep 60 & exit 3", profile))
        assert (holding.kind, holding.exit_code, holding.stdout.kept) == (Kind.EXITED, 3, b"a\n")
        assert holding.sweeping.killed == 1
        assert holding.wall_s < 10
        closing = await runner.run(a_plan("echo a; exec >&- 2>&-; sleep 0.1; exit 4", profile))
        assert (closing.exit_code, closing.stdout.kept) == (4, b"a\n")


async def test_an_exception_of_who_listens_ends_the_script() -> None:
    def refuse(_stream: str, _data: bytes) -> None:
        raise RuntimeError("not this")

    async with a_cell_runner() as runner:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(RuntimeError, match="not this"):
            await runner.run(a_plan("echo up; sleep 60"), refuse)
        with trio.fail_after(10):
            await wait_until(lambda: not any(runs_a_script(init) for init in inits(runner)))
        assert (await runner.run(a_plan("echo on"))).stdout.kept == b"on\n"
        assert len(os.listdir("/proc/self/fd")) <= before + 6 * 8  # cells that are ready


# --- limits ---

EATS = "x = []\nwhile True: x.append(bytearray(1 << 20))"


@pytest.mark.parametrize("profile", mostly_long(LEVELS))
async def test_too_much_memory_is_its_own_kind_of_end(profile: Profile) -> None:
    outcome = await one(a_plan(EATS, profile, "python3", memory_bytes=64 << 20))
    assert outcome.kind is Kind.MEMORY_LIMIT
    assert outcome.message == "more than 64 MiB"
    assert 64 << 20 < outcome.max_rss_bytes < 128 << 20
    assert not outcome.sweeping.uncertain


async def test_limits_of_each_process_hold() -> None:
    cases: list[tuple[dict[str, int], str, bytes]] = [
        ({"file_bytes": 4096}, "head -c 5000 /dev/zero > f; echo $? $(stat -c %s f)", b"153 4096\n"),
        ({"processes": 4}, "for n in 1 2 3 4 5 6; do sleep 9 & done 2>/dev/null; echo on", b""),
        ({"address_bytes": 64 << 20}, "python3 -c 'bytearray(1 << 27)' 2>/dev/null; echo $?", b"1\n"),
        ({"data_bytes": 32 << 20}, "python3 -c 'bytearray(1 << 26)' 2>/dev/null; echo $?", b"1\n"),
    ]
    async with a_cell_runner() as runner:
        for changes, script, said in cases:
            assert (await runner.run(a_plan(script, **changes))).stdout.kept == said


# --- what cannot start ---


@pytest.mark.parametrize("profile", [STRICT, NETWORK, LANDLOCK])
async def test_an_interpreter_that_is_not_there_is_named_with_the_reason(profile: Profile) -> None:
    reasons = {
        "/nowhere/sh": "No such file or directory",
        "/usr": "Permission denied",
        "/usr/bin/env/x": "Not a directory",
    }
    async with a_cell_runner() as runner:
        for path, reason in reasons.items():
            outcome = await runner.run(changed(a_plan("echo", profile), interpreter_path=path))
            assert (outcome.kind, outcome.message) == (Kind.FAILED_TO_START, f"exec {path}: {reason}")
            assert (outcome.exit_code, outcome.stdout.kept) == (None, b"")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"environment": (("A", "x\0y"),)}, "NUL"),
        ({"environment": (("A", "x" * 50_000),)}, "more than"),
        ({"environment": (("A", "\ud800"),)}, "A"),
        ({"script": b"#" * (2 << 20)}, "No space left"),
    ],
)
async def test_a_task_that_cannot_be_passed_fails_to_start_and_the_next_one_runs(
    change: dict[str, object], word: str
) -> None:
    profile = Profile(Level.STRICT, work_bytes=1 << 20)
    plan = a_plan("echo", profile)
    async with a_cell_runner() as runner:
        outcome = await runner.run(changed(plan, **change))
        assert outcome.kind is Kind.FAILED_TO_START
        assert word in outcome.message
        assert (await runner.run(a_plan("echo on", profile))).stdout.kept == b"on\n"


async def test_a_cell_that_cannot_be_built_is_a_failure_to_start_with_its_step() -> None:
    outcome = await one(a_plan("echo", Profile(Level.STRICT, read_only=("/nowhere/at/all",))))
    assert outcome.kind is Kind.FAILED_TO_START
    assert outcome.message == "sources: No such file or directory (/nowhere/at/all)"


# --- the levels ---


async def test_at_level_landlock_the_work_directory_is_the_hosts_and_goes() -> None:
    plan = a_plan("pwd; echo $HOME; mkdir -p a/b; touch a/b/c; chmod 000 a; ls -ld .", LANDLOCK)
    async with a_cell_runner() as runner:
        with a_place() as root:
            outcome = await runner.run(changed(plan, work_root=os.fspath(root)))
            assert os.listdir(root) == []
        place, home, mode, *_ = outcome.stdout.kept.decode().split()
        assert place == home
        assert place.startswith(f"{root}/lattice-task-")
        assert mode == "drwx------"
        assert not inits(runner)  # none is kept ready: each has a directory of its own


@pytest.mark.long
@pytest.mark.parametrize("profile", [LANDLOCK, Profile(Level.STRICT, work_disk="?")])
async def test_a_directory_on_the_host_goes_whatever_happens(profile: Profile) -> None:
    with a_place() as place:
        if profile.work_disk:
            profile = Profile(Level.STRICT, work_disk=os.fspath(place))
        scripts = {"exit 0": Kind.EXITED, "kill -KILL $$": Kind.SIGNALLED, IGNORES: Kind.TIMED_OUT}
        async with a_cell_runner() as runner:
            for script, kind in scripts.items():
                plan = a_plan(f"touch left; {script}", profile, wall_s=0.5, grace_s=0.1)
                outcome = await runner.run(changed(plan, work_root=os.fspath(place)))
                assert outcome.kind is kind, outcome
                assert os.listdir(place) == []
            plan = changed(a_plan("touch left", profile), work_root=os.fspath(place), interpreter_path="/nowhere")
            assert (await runner.run(plan)).kind is Kind.FAILED_TO_START
            assert os.listdir(place) == []


async def test_a_work_directory_on_disk_is_as_large_as_the_disk() -> None:
    with a_place() as place:
        profile = Profile(Level.STRICT, work_disk=os.fspath(place), work_bytes=1 << 20)
        script = "pwd; head -c 2000000 /dev/zero > big && stat -c %s big; head -c 2000000 /dev/zero > /tmp/big; echo $?"
        outcome = await one(a_plan(script, profile))
        assert outcome.stdout.kept == b"/tmp/work\n2000000\n1\n"


async def test_a_work_root_that_cannot_be_used_is_a_failure_to_start(tmp_path: Path) -> None:
    plan = a_plan("echo", LANDLOCK)
    (tmp_path / "file").touch()
    outcome = await one(changed(plan, work_root=f"{tmp_path}/file"))
    assert outcome.kind is Kind.FAILED_TO_START
    assert "is not a directory" in outcome.message


CONNECT = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1] if len(sys.argv) > 1 else PORT)), 5).close()
    print("connected")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (STRICT, "Connection refused"),
        (NETWORK, "connected"),
        (LANDLOCK, "Permission denied"),
        (Profile(Level.LANDLOCK, network=True), "connected"),
    ],
)
async def test_the_hosts_network_is_there_only_where_it_was_asked_for(profile: Profile, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = CONNECT.replace("PORT", str(server.getsockname()[1]))
        outcome = await one(a_plan(script, profile, "python3"))
    # What the second wall refuses, the first may have refused before.
    also = {"Permission denied": "Operation not permitted"}
    assert outcome.stdout.kept.decode().strip() in (said, also.get(said))


async def test_with_the_network_come_the_hosts_resolver_and_names() -> None:
    outcome = await one(a_plan("cat /etc/resolv.conf; cat /etc/hosts", NETWORK))
    assert outcome.stdout.kept == b"".join(_text(path) for path in ("/etc/resolv.conf", "/etc/hosts"))


def _text(path: str) -> bytes:
    return Path(path).read_bytes()


# --- what dies ---


@pytest.mark.parametrize("profile", mostly_long(LEVELS))
async def test_when_the_spawner_dies_what_runs_is_interrupted_and_the_next_run_works(profile: Profile) -> None:
    async with running(a_plan(IGNORES, profile), a_plan(IGNORES, profile)) as (runner, runs):
        os.kill(runner.spawner_pid, signal.SIGKILL)
        for run in runs:
            outcome = await run.end()
            assert outcome.kind is Kind.INTERRUPTED, outcome
            assert outcome.stdout.kept == b"up\n"
        assert (await runner.run(a_plan("echo on", profile))).stdout.kept == b"on\n"
        assert runner.spawner_restarts == 1


async def test_when_the_spawner_dies_who_waits_is_served_by_the_next() -> None:
    async with a_cell_runner() as runner, trio.open_nursery() as nursery:
        runs = [Running(runner, a_plan("echo served")) for _ in range(3)]
        for run in runs:
            nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(runner.spawner_pid, signal.SIGKILL)
        for run in runs:
            assert (await run.end()).stdout.kept == b"served\n"


@pytest.mark.long
async def test_a_run_right_after_the_spawners_death_is_served() -> None:
    async with a_cell_runner(STRICT) as runner:
        assert (await runner.run(a_plan("echo first"))).kind is Kind.EXITED
        for _ in range(3):
            os.kill(runner.spawner_pid, signal.SIGKILL)
            outcome = await runner.run(a_plan("echo again"))
            assert outcome.kind in (Kind.EXITED, Kind.INTERRUPTED, Kind.FAILED_TO_START), outcome
            with trio.fail_after(10):
                restarts = runner.spawner_restarts
                while (await runner.run(a_plan("echo on"))).kind is not Kind.EXITED:
                    assert runner.spawner_restarts <= restarts + 1
                await wait_until(lambda: runner.spawner_restarts)
            await wait_until(lambda: inits(runner))


async def test_a_cell_that_is_killed_from_outside_is_an_interrupted_run() -> None:
    async with running(a_plan(IGNORES)) as (runner, [run]):
        [init] = [init for init in inits(runner) if runs_a_script(init)]
        os.kill(init, signal.SIGKILL)
        outcome = await run.end()
        assert (outcome.kind, outcome.message) == (Kind.INTERRUPTED, "the run's cell was killed")


@pytest.mark.long
async def test_a_cell_that_does_not_die_costs_the_spawner_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """At level landlock the init does the killing, and nothing is done by one that is stopped."""
    monkeypatch.setattr(cell_run, "KILL_S", 0.2)
    monkeypatch.setattr(cell_run, "GONE_S", 0.2)
    async with running(a_plan(IGNORES, LANDLOCK, grace_s=0.1)) as (runner, [run]):
        [init] = inits(runner)
        before = runner.spawner_pid
        os.kill(init, signal.SIGSTOP)
        run.scope.cancel()
        outcome = await run.end()
        try:
            assert outcome.sweeping.uncertain
            assert outcome.kind is Kind.CANCELLED
            with trio.fail_after(10):
                await wait_until(lambda: runner.spawner_restarts == 1)
            assert runner.spawner_pid != before
        finally:
            os.kill(init, signal.SIGCONT)
        assert (await runner.run(a_plan("echo on"))).stdout.kept == b"on\n"


# --- what is left ---


async def test_many_runs_at_once_each_get_their_own_output() -> None:
    async with a_cell_runner(STRICT) as runner, trio.open_nursery() as nursery:
        runs = [Running(runner, a_plan(f"echo {number}; sleep 0.05; echo {number} >&2")) for number in range(20)]
        for run in runs:
            nursery.start_soon(run)
        for number, run in enumerate(runs):
            outcome = await run.end()
            assert (outcome.stdout.kept, outcome.stderr.kept) == (f"{number}\n".encode(),) * 2


async def test_leaving_the_runner_leaves_no_process_and_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with a_cell_runner(STRICT) as runner:
        for _ in range(3):
            await runner.run(a_plan("setsid sleep 60 & exit 0"))
        pids = [runner.spawner_pid, *inits(runner)]
    assert not any(alive(pid) for pid in pids)
    assert len(os.listdir("/proc/self/fd")) <= before
