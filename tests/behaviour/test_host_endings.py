"""How runs end at level host: by themselves, by the clock, by their caller; and that pipes are never waited for."""

import signal
from pathlib import Path

import pytest
import trio

from lattice_agent.exec.outcome import Clock, Kind, error_text, exit_code
from tests.hostile.rig import a_runner, marker, plan, processes_of, wait_until


async def test_streams_and_exit_code_come_back_with_what_the_run_used() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(
            plan("echo out; echo err >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3")
        )
    assert (outcome.kind, outcome.exit_code, outcome.stdout.kept, outcome.stderr.kept) == (
        Kind.EXITED,
        3,
        b"out\n",
        b"err\n",
    )
    assert 0 < outcome.cpu_s <= outcome.wall_s * 1.5 + 0.05
    assert outcome.max_rss_bytes > 1 << 19
    assert not outcome.sweeping.uncertain


@pytest.mark.parametrize(("name", "text"), [("TERM", "signal: terminated"), ("KILL", "signal: killed")])
async def test_a_script_that_ends_by_a_signal(name: str, text: str) -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan(f"kill -{name} $$"))
    assert (outcome.kind, error_text(outcome), exit_code(outcome)) == (Kind.SIGNALLED, text, -1)


async def test_the_cpu_clock() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("while :; do :; done", cpu_s=1))
    assert (outcome.kind, outcome.signal, outcome.clock) == (Kind.SIGNALLED, signal.SIGXCPU, Clock.CPU)


async def test_output_beyond_the_limit_keeps_the_first_bytes_and_the_exit_code() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("seq 1 100000; echo err >&2; exit 4", output_bytes=100))
    assert (outcome.kind, outcome.exit_code) == (Kind.OUTPUT_LIMIT, 4)
    assert outcome.stdout.kept == "\n".join(map(str, range(1, 200))).encode()[:100]
    assert outcome.stdout.produced == 588_895
    assert outcome.stderr.kept == b"err\n"


# --- weak point 5, trap 11: the end is the end of the main process ---


@pytest.mark.parametrize(
    "script",
    [
        "sleep 12 & echo started",
        "setsid sleep 12 & echo started",
        "(setsid sleep 12 &) ; echo started",
        "exec 3>&1; sh -c 'trap \"\" TERM; sleep 12 >&3' & echo started",
    ],
)
async def test_weak_point_05_trap_11_held_pipes_delay_nothing_and_their_holders_are_killed(script: str) -> None:
    run_id = marker()
    async with a_runner() as runner:
        with trio.fail_after(4):  # far below the 12 s of the sleep, far above what it takes
            outcome = await runner.run(plan(script, run_id=run_id))
        assert processes_of(run_id) == set()
    assert (outcome.kind, outcome.exit_code, outcome.stdout.kept) == (Kind.EXITED, 0, b"started\n")
    assert outcome.sweeping.killed >= 1


async def test_closed_streams_end_nothing_early() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("exec >&- 2>&-; sleep 0.1; exit 6"))
    assert (outcome.kind, outcome.exit_code) == (Kind.EXITED, 6)
    assert outcome.wall_s >= 0.1


async def test_children_that_write_while_the_script_ends_do_not_hold_it() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("yes & yes >&2 & sleep 0.05; exit 0", output_bytes=1000))
    assert (outcome.kind, outcome.exit_code) == (Kind.OUTPUT_LIMIT, 0)
    assert outcome.sweeping.killed == 2


# --- weak point 14: the end of the tree ---


async def test_weak_point_14_a_timeout_asks_first_and_keeps_what_was_printed() -> None:
    script = "trap 'echo cleaned up; exit 0' TERM; echo before; while :; do sleep 0.02; done"
    async with a_runner() as runner:
        outcome = await runner.run(plan(script, wall_s=0.2))
    assert (outcome.kind, outcome.clock) == (Kind.TIMED_OUT, Clock.WALL)
    assert outcome.stdout.kept == b"before\ncleaned up\n"
    assert (exit_code(outcome), error_text(outcome)) == (-1, "context deadline exceeded")


async def test_weak_point_14_children_have_the_grace_too_when_the_main_process_ends_at_once() -> None:
    child = "trap 'sleep 0.2; echo child cleaned up; exit' TERM; echo up; while :; do sleep 0.02; done"
    async with a_runner() as runner:
        outcome = await runner.run(plan(f'sh -c "{child}" & wait', wall_s=0.3))
    assert outcome.kind is Kind.TIMED_OUT
    assert outcome.stdout.kept == b"up\nchild cleaned up\n"


@pytest.mark.parametrize(
    "script",
    [
        "trap '' TERM; sleep 60; sleep 60",
        "setsid sh -c 'trap \"\" TERM; sleep 60; sleep 60' & wait",
        "kill -STOP $$",
        "sh -c 'kill -STOP $$' & wait",
        "(setsid sleep 60 &) ; sleep 60",
    ],
)
async def test_weak_point_14_after_the_grace_everything_is_killed(script: str) -> None:
    run_id = marker()
    async with a_runner() as runner:
        outcome = await runner.run(plan(script, run_id=run_id, wall_s=0.1, grace_s=0.1))
        assert processes_of(run_id) == set()
    assert outcome.kind is Kind.TIMED_OUT
    assert not outcome.sweeping.uncertain


async def test_a_stopped_script_hears_the_sigterm() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("trap 'echo heard; exit' TERM; kill -STOP $$; sleep 60", wall_s=0.1))
    assert (outcome.kind, outcome.stdout.kept) == (Kind.TIMED_OUT, b"heard\n")


async def test_weak_point_14_what_is_left_after_a_normal_end_is_killed_without_a_grace() -> None:
    run_id = marker()
    async with a_runner() as runner:
        outcome = await runner.run(plan("sh -c 'trap \"\" TERM; sleep 60' & sleep 0.05", run_id=run_id, grace_s=25))
        assert processes_of(run_id) == set()
    assert outcome.kind is Kind.EXITED
    assert outcome.sweeping.killed == 2


# --- the caller ends it ---


async def test_cancellation_returns_an_outcome_with_what_was_captured(tmp_path: Path) -> None:
    run_id = marker()
    root = tmp_path / "root"
    async with a_runner() as runner:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_up, run_id, scope)
                script = "trap 'echo bye; exit 0' TERM; echo hello; touch up; sleep 60 & wait"
                outcome = await runner.run(plan(script, run_id=run_id, work_root=str(root)))
                assert outcome.kind is Kind.CANCELLED
                assert outcome.stdout.kept == b"hello\nbye\n"
        assert scope.cancel_called
        assert processes_of(run_id) == set()
        assert list(root.iterdir()) == []


async def _cancel_when_up(run_id: str, scope: trio.CancelScope) -> None:
    with trio.CancelScope(shield=True):
        await wait_until(lambda: len(processes_of(run_id)) >= 2)
    scope.cancel()


async def test_cancellation_before_the_start_starts_nothing(tmp_path: Path) -> None:
    async with a_runner() as runner:
        with trio.CancelScope() as scope:
            scope.cancel()
            await runner.run(plan("touch ran", work_root=str(tmp_path / "root")))
        assert scope.cancelled_caught
    assert not (tmp_path / "root").exists()


async def test_leaving_the_runner_ends_what_still_runs() -> None:
    run_id = marker()
    async with a_runner() as runner:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run, plan("setsid sleep 60 & sleep 60", run_id=run_id, grace_s=0.1))
            await wait_until(lambda: len(processes_of(run_id)) == 3)
            nursery.cancel_scope.cancel()
    assert processes_of(run_id) == set()


async def test_a_missing_interpreter_is_a_failure_to_start_and_leaves_nothing(tmp_path: Path) -> None:
    from dataclasses import replace

    async with a_runner() as runner:
        the_plan = replace(plan("echo no", work_root=str(tmp_path / "root")), interpreter_path="/nowhere/sh")
        outcome = await runner.run(the_plan)
    assert (outcome.kind, outcome.message) == (Kind.FAILED_TO_START, "exec /nowhere/sh: No such file or directory")
    assert list((tmp_path / "root").iterdir()) == []


async def test_many_runs_at_once_do_not_mix() -> None:
    outputs: dict[int, bytes] = {}
    async with a_runner() as runner:

        async def one(number: int) -> None:
            outcome = await runner.run(plan(f"sleep 0.0{number % 7}; echo {number}; exit {number}"))
            assert outcome.exit_code == number
            outputs[number] = outcome.stdout.kept

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
    assert outputs == {number: f"{number}\n".encode() for number in range(20)}
