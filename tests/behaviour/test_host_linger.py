"""The declared exception: processes that left the main session on purpose may outlive the script for a while.

The server's firewall scripts start a watchdog through setsid that inherits stdout and rolls back after 60 s.
"""

import os
import signal
from pathlib import Path

import pytest
import trio

from lattice_agent.exec.outcome import Kind
from lattice_agent.exec.supervision import LingerEnd
from tests.hostile.rig import a_runner, alive, arguments_of, marker, parent_of, plan, processes_of, wait_until


async def test_a_watchdog_outlives_the_outcome_and_then_ends_by_itself(tmp_path: Path) -> None:
    ends: list[LingerEnd] = []
    proof = tmp_path / "proof"
    go = tmp_path / "go"
    # It writes to the inherited stdout before it acts: a closed pipe would kill it (SIGPIPE).
    watchdog = f"while [ ! -e {go} ]; do sleep 0.01; done; seq 1 50000; touch {proof}"
    run_id = marker()
    async with a_runner(ends.append) as runner:
        the_plan = plan(f"echo applied; setsid sh -c '{watchdog}' & ", run_id=run_id, linger_s=20)
        outcome = await runner.run(the_plan)
        assert (outcome.kind, outcome.exit_code, outcome.stdout.kept) == (Kind.EXITED, 0, b"applied\n")
        assert (outcome.sweeping.lingering, ends) == (2, []) or outcome.sweeping.lingering == 1
        assert processes_of(run_id)
        go.touch()
        await wait_until(lambda: ends)
        assert proof.exists()
    assert ends == [LingerEnd(run_id, outcome.sweeping.lingering, killed=0, uncertain=False)]


async def test_what_still_lingers_when_its_time_is_over_is_killed() -> None:
    ends: list[LingerEnd] = []
    run_id = marker()
    async with a_runner(ends.append) as runner:
        outcome = await runner.run(plan("setsid sh -c 'trap \"\" TERM; sleep 60' &", run_id=run_id, linger_s=0.2))
        assert outcome.sweeping.lingering >= 1
        await wait_until(lambda: ends)
        assert processes_of(run_id) == set()
    assert ends[0].killed >= 1
    assert not ends[0].uncertain


async def test_only_what_left_the_main_session_is_spared() -> None:
    run_id = marker()
    async with a_runner() as runner:
        script = "sleep 60 & sh -c 'trap \"\" TERM HUP; sleep 60' & exec setsid -f sleep 61"
        outcome = await runner.run(plan(script, run_id=run_id, linger_s=20))
        [lingerer] = processes_of(run_id)
        assert arguments_of(lingerer) == ["sleep", "61"]
        assert outcome.sweeping.lingering == 1
        assert outcome.sweeping.killed >= 2
    assert not alive(lingerer)


@pytest.mark.parametrize("attempt", range(5))
async def test_a_watchdog_on_the_last_line_gets_the_moment_it_needs_to_leave_the_session(attempt: int) -> None:
    async with a_runner() as runner:
        outcome = await runner.run(plan("setsid sleep 60 &", linger_s=20))
    assert (outcome.sweeping.lingering, outcome.sweeping.killed) == (1, 0)


async def test_a_timeout_spares_it_too() -> None:
    run_id = marker()
    async with a_runner() as runner:
        outcome = await runner.run(
            plan("setsid sleep 61 & sleep 60", run_id=run_id, linger_s=20, wall_s=0.2, grace_s=0.1)
        )
        assert (outcome.kind, outcome.sweeping.lingering) == (Kind.TIMED_OUT, 1)
        assert len(processes_of(run_id)) == 1
    assert processes_of(run_id) == set()


async def test_a_cancellation_spares_nothing() -> None:
    run_id = marker()
    async with a_runner() as runner:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run, plan("setsid sleep 61 & sleep 60", run_id=run_id, linger_s=20))
            await wait_until(lambda: len(processes_of(run_id)) == 3)
            nursery.cancel_scope.cancel()
        assert processes_of(run_id) == set()


async def test_without_a_linger_time_setsid_is_no_way_out() -> None:
    run_id = marker()
    async with a_runner() as runner:
        outcome = await runner.run(plan("setsid sleep 60 & sleep 0.05", run_id=run_id))
        assert processes_of(run_id) == set()
    assert (outcome.sweeping.killed, outcome.sweeping.lingering) == (1, 0)


async def test_the_work_directory_stays_while_something_lingers_in_it(tmp_path: Path) -> None:
    ends: list[LingerEnd] = []
    root, go = tmp_path / "root", tmp_path / "go"
    script = (
        f"setsid sh -c 'while [ ! -e {go} ]; do sleep 0.01; done; touch $HOME/rolled-back && touch {tmp_path}/ok' &"
    )
    async with a_runner(ends.append) as runner:
        await runner.run(plan(script, linger_s=20, work_root=str(root)))
        assert len(list(root.iterdir())) == 1
        go.touch()
        await wait_until(lambda: ends)
        assert (tmp_path / "ok").exists()
        await wait_until(lambda: not list(root.iterdir()))


async def test_leaving_the_runner_ends_the_lingering_and_says_so() -> None:
    ends: list[LingerEnd] = []
    run_id = marker()
    async with a_runner(ends.append) as runner:
        await runner.run(plan("setsid sleep 60 &", run_id=run_id, linger_s=25))
    assert ends == [LingerEnd(run_id, 1, killed=1, uncertain=False)]
    assert processes_of(run_id) == set()


async def test_a_supervisor_killed_while_something_lingers_leaves_it_to_the_spawner() -> None:
    ends: list[LingerEnd] = []
    run_id = marker()
    async with a_runner(ends.append) as runner:
        await runner.run(plan("setsid sleep 60 &", run_id=run_id, linger_s=25))
        [lingerer] = processes_of(run_id)
        os.kill(parent_of(lingerer), signal.SIGKILL)
        await wait_until(lambda: ends)
        assert not alive(lingerer)
    # Whether the spawner counts it as killed depends on who looks first; that it is gone, and known to be, does not.
    [end] = ends
    assert (end.run_id, end.lingered, end.uncertain) == (run_id, 1, False)
