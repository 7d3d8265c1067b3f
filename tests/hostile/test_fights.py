"""Scripts that fight the processes above them: signals to supervisor and spawner, stops, fork bombs, chains.

At this level they share a uid with us, so some blows land. Then the outcome has to say so, nothing may stay behind,
other runs go on as far as they can, and the next run works.
"""

import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from lattice_agent.exec.outcome import Kind, error_text
from lattice_agent.exec.runner import Runner
from tests.hostile.rig import (
    a_runner,
    alive,
    children_of,
    marker,
    parent_of,
    plan,
    processes_of,
    wait_until,
)

pytestmark = pytest.mark.hostile


async def works(runner: Runner) -> bool:
    return (await runner.run(plan("exit 0"))).exit_code == 0


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "PIPE", "ALRM", "CHLD", "SEGV", "XCPU"])
async def test_signals_to_the_supervisor_and_the_spawner_do_nothing(name: str) -> None:
    script = f"set -- $(cat /proc/$PPID/stat); kill -{name} $PPID $4 && sleep 0.02; echo survived; exit 3"
    async with a_runner() as runner:
        before = runner.spawner_pid
        outcome = await runner.run(plan(script))
        assert (outcome.kind, outcome.exit_code, outcome.stdout.kept) == (Kind.EXITED, 3, b"survived\n")
        assert (runner.spawner_pid, runner.spawner_restarts) == (before, 0)


async def test_stopping_the_supervisor_delays_nothing() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("kill -STOP $PPID; exit 3", wall_s=15))
    assert (outcome.kind, outcome.exit_code) == (Kind.EXITED, 3)


@pytest.mark.long
async def test_stopping_the_supervisor_again_and_again_ends_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lattice_agent.exec.supervision.KILL_S", 0.3)
    run_id = marker()
    async with a_runner() as runner:
        script = "while :; do kill -STOP $PPID; done"
        outcome = await runner.run(plan(script, run_id=run_id, wall_s=0.1, grace_s=0.1))
        assert processes_of(run_id) == set()
        assert outcome.kind is Kind.TIMED_OUT
        assert not outcome.sweeping.uncertain
        assert await works(runner)


async def test_killing_the_supervisor_is_an_interrupted_run_and_nothing_stays() -> None:
    run_id = marker()
    script = "setsid sleep 60 & (sleep 60 &) ; echo before; kill -KILL $PPID; sleep 60"
    async with a_runner() as runner:
        outcome = await runner.run(plan(script, run_id=run_id))
        assert processes_of(run_id) == set()
        assert (outcome.kind, outcome.stdout.kept) == (Kind.INTERRUPTED, b"before\n")
        assert "the run's supervisor ended" in error_text(outcome)
        assert outcome.sweeping.killed >= 3
        assert not outcome.sweeping.uncertain
        assert await works(runner)
        assert runner.spawner_restarts == 0


async def test_killing_the_supervisor_of_another_run_leaves_the_rest_alone() -> None:
    victim, bystander = marker(), marker()
    kinds: dict[str, Kind] = {}
    async with a_runner() as runner:

        async def one(run_id: str, script: str) -> None:
            kinds[run_id] = (await runner.run(plan(script, run_id=run_id))).kind

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, victim, "sleep 60")
            await wait_until(lambda: processes_of(victim))
            nursery.start_soon(one, bystander, "sleep 0.5; exit 0")
            await wait_until(lambda: processes_of(bystander))
            os.kill(parent_of(min(processes_of(victim))), signal.SIGKILL)
        assert kinds == {victim: Kind.INTERRUPTED, bystander: Kind.EXITED}


async def test_killing_the_spawner_interrupts_what_runs_and_another_takes_its_place() -> None:
    first, second = marker(), marker()
    outcomes = {}
    async with a_runner() as runner:

        async def one(run_id: str, script: str) -> None:
            outcomes[run_id] = await runner.run(plan(script, run_id=run_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, first, "trap '' TERM; setsid sleep 60 & echo up; sleep 60")
            nursery.start_soon(one, second, "(setsid sleep 60 &) ; sleep 60")
            await wait_until(lambda: len(processes_of(first)) == 3 and len(processes_of(second)) == 3)
            old = runner.spawner_pid
            os.kill(old, signal.SIGKILL)
        for run_id in (first, second):
            assert outcomes[run_id].kind is Kind.INTERRUPTED
            assert "the spawner ended" in error_text(outcomes[run_id])
            assert processes_of(run_id) == set()
        assert outcomes[first].stdout.kept == b"up\n"
        assert await works(runner)
        assert runner.spawner_restarts == 1
        assert runner.spawner_pid != old
        assert not alive(old)


async def test_a_script_that_kills_the_spawner_is_interrupted_itself() -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("set -- $(cat /proc/$PPID/stat); kill -KILL $4; sleep 60"))
        assert outcome.kind is Kind.INTERRUPTED
        assert await works(runner)


@pytest.mark.long
async def test_spawners_that_die_again_and_again_are_replaced_each_time() -> None:
    async with a_runner() as runner:
        for restarts in (1, 2, 3):
            os.kill(runner.spawner_pid, signal.SIGKILL)
            await wait_until(lambda: runner.spawner_restarts == restarts)  # noqa: B023 - awaited in this round
            assert await works(runner)


@pytest.mark.long
async def test_a_spawner_that_is_stopped_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_runner() as runner:
        assert await works(runner)
        monkeypatch.setattr("lattice_agent.exec.supervision.START_S", 0.2)
        monkeypatch.setattr("lattice_agent.exec.supervision.DESTROY_S", 0.2)
        os.kill(runner.spawner_pid, signal.SIGSTOP)
        stuck = await runner.run(plan("exit 0"))
        assert stuck.kind is Kind.INTERRUPTED
        await wait_until(lambda: runner.spawner_restarts == 1)
        monkeypatch.undo()
        assert await works(runner)


FORK_CHAIN = """
import os, sys, time
beats = os.open(sys.argv[1] if len(sys.argv) > 1 else BEATS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
end = time.monotonic() + 6  # an outer limit of its own
if os.fork() == 0:
    os.setsid()
    while time.monotonic() < end:
        os.write(beats, b".")
        if os.fork():
            os._exit(0)
else:
    while not os.fstat(beats).st_size:
        time.sleep(0.001)
"""
"""Each link writes a byte. The chain hides from a look into /proc, so that only what it does tells that it lives."""


def size_of(beats: Path) -> int:
    """Bytes the chain has written."""
    return os.path.getsize(beats)


async def still_beats(beats: Path) -> bool:
    """Whether the chain writes on. It makes a link in about a millisecond; this is a window of hundreds of them."""
    before = size_of(beats)
    await trio.sleep(0.5)
    return size_of(beats) > before


async def test_the_fork_chain_outlives_its_task_where_nobody_sweeps(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    await trio.run_process([sys.executable, "-c", FORK_CHAIN, str(beats)])
    assert await still_beats(beats)


async def test_a_fork_chain_never_hangs_a_run_and_is_never_called_gone_while_it_goes_on(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    async with a_runner() as runner:
        script = f"BEATS = {str(beats)!r}\n{FORK_CHAIN}"
        outcome = await runner.run(plan(script, interpreter="python3"))
        assert outcome.kind is Kind.EXITED
        assert size_of(beats) > 0
        assert outcome.sweeping.uncertain or not await still_beats(beats)
        assert await works(runner)


async def test_thousands_of_orphans_that_die_at_once_are_reaped() -> None:
    async with a_runner() as runner:
        script = (
            "i=0; while [ $i -lt 1500 ]; do (: &) ; i=$((i+1)); done; ls /proc/$PPID/task/*/children >/dev/null; exit 0"
        )
        outcome = await runner.run(plan(script))
        assert (outcome.kind, outcome.sweeping.uncertain) == (Kind.EXITED, False)
        await wait_until(lambda: not children_of(runner.spawner_pid))


async def test_more_processes_than_one_look_holds_are_killed_all_the_same() -> None:
    run_id = marker()
    async with a_runner() as runner:
        script = "i=0; while [ $i -lt 400 ]; do setsid sleep 300 & i=$((i+1)); done; exit 0"
        outcome = await runner.run(plan(script, run_id=run_id))
        assert processes_of(run_id) == set()
    assert outcome.sweeping.killed >= 390  # a few may have been killed before they were sleep
    assert not outcome.sweeping.uncertain
