"""Sweeps of real trees. Each test forks a root of its own, because a sweep kills every descendant of its process."""

import subprocess
import sys
import textwrap

import pytest

from tests.hostile.rig import REPOSITORY, leaves_something_unswept, marker, processes_of

HEAD = """
import os, sys, time, signal, subprocess, select
import prctl
from lattice_agent.exec import sweep
from lattice_agent.exec.kernel import proctree
from lattice_agent.exec.kernel.wait import ANY_CHILD
prctl.set_child_subreaper(1)

def reap():
    while True:
        try:
            pid, _, _ = os.wait4(-1, ANY_CHILD)
        except ChildProcessError:
            return True
        if pid == 0:
            return False

def shell(script):
    process = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"ready\\n"
    return process

pause = lambda ms: time.sleep(ms / 1000)
"""


def in_root_of_its_own(body: str, run_id: str | None = None) -> str:
    """Run ``body`` in a fresh process that may sweep everything below it; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HEAD + textwrap.dedent(body)],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "LATTICE_TASK_ID": run_id or marker()},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "script",
    [
        "sleep 60 & echo ready",
        "setsid sleep 60 & echo ready",
        "(setsid sh -c '(sleep 60 &) ; sleep 60' &) ; echo ready",
        "sh -c 'trap \"\" TERM HUP INT; echo ready; while :; do sleep 60; done' & wait",
        "sh -c 'kill -STOP $$' & sh -c 'kill -STOP $$' & echo ready; wait",
    ],
)
def test_nothing_is_left_of_a_tree(script: str) -> None:
    run_id = marker()
    body = f"shell({script!r}); print(sweep.finish(sweep.Sweep(os.getpid(), reap=reap), pause), reap())"
    assert in_root_of_its_own(body, run_id) == "True True\n"
    assert processes_of(run_id) == set()


def test_the_killed_are_counted_once_and_zombies_not_at_all() -> None:
    body = """
        process = shell("sleep 60 & sleep 60 & echo ready; kill -KILL $$")
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        work = sweep.Sweep(os.getpid(), reap=reap)
        sweep.finish(work, pause)
        print(work.killed)
    """
    assert in_root_of_its_own(body) == "2\n"


def test_the_spared_live_on_and_the_rest_does_not() -> None:
    body = """
        process = shell("sleep 60 & setsid sleep 60 & sleep 0.1; echo ready; wait")
        spares = lambda found: found.session != process.pid
        work = sweep.Sweep(os.getpid(), reap=lambda: reap() or True, spares=spares)
        print(sweep.finish(work, pause), work.killed, len(proctree.look(os.getpid())))
        sweep.finish(sweep.Sweep(os.getpid(), reap=reap), pause)
    """
    assert in_root_of_its_own(body) == "True 2 1\n"


def test_a_bounded_fork_bomb_stands_still_and_dies() -> None:
    body = """
        import resource
        if os.getuid() == 0:
            os.setgid(65534); os.setuid(65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))
        shell("b() { b & b & }; echo ready; b 2>/dev/null; b 2>/dev/null")
        print(sweep.finish(sweep.Sweep(os.getpid(), reap=reap), pause), reap())
    """
    assert in_root_of_its_own(body) == "True True\n"


def test_a_process_that_does_not_die_makes_the_sweep_give_up() -> None:
    body = """
        sweep.SWEEP_S = 0.05
        proctree.Process.send = lambda self, number: True  # as in state D: the signal is taken and nothing happens
        process = shell("echo ready; exec sleep 60")
        print(sweep.finish(sweep.Sweep(os.getpid(), reap=reap), pause))
        process.kill()
    """
    assert in_root_of_its_own(body) == "False\n"


def test_an_empty_tree_takes_two_steps_and_no_pause() -> None:
    body = """
        work = sweep.Sweep(os.getpid(), reap=reap)
        print(work.step(), work.found_any, work.step(), work.killed)
    """
    assert in_root_of_its_own(body) == "False False True 0\n"


def test_the_test_itself_sees_what_is_left_without_a_sweep() -> None:
    assert leaves_something_unswept("setsid sleep 60 &")
