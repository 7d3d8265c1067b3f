"""The same as an ordinary user: limits that root does not feel, and that nothing depends on being root.

Everything runs in a fork that drops its uid after the imports, because other uids may not reach the interpreter or this
tree; for the same reason the spawner is a fork there.
"""

import os
import resource
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator

import prctl
import pytest
import trio

from lattice_agent.exec.host import count_uid_threads
from lattice_agent.exec.outcome import Kind
from lattice_agent.exec.runner import Runner, open_runner
from tests.hostile.rig import OUTER_LIMIT_S, fork_spawner, marker, plan, processes_of

NOBODY = 65534
Story = Callable[[Runner, str], Awaitable[None]]


@pytest.fixture
def root() -> Iterator[str]:
    """A work root that the lower uid owns; pytest's own directories are closed to it."""
    with tempfile.TemporaryDirectory() as path:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        yield path


def as_ordinary_user(story: Story, root: str) -> None:
    """Tell the story in a fork that is not root, with a runner of its own; its work root is empty afterwards."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            assert os.geteuid() != 0
            prctl.set_dumpable(1)  # what setresuid took: whether the spawner takes it is to be seen
            os.chdir("/")
            trio.run(_tell, story, root)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.listdir(root) == []


async def _tell(story: Story, root: str) -> None:
    with trio.fail_after(OUTER_LIMIT_S):
        async with open_runner(fork_spawner()) as runner:
            await story(runner, root)


def test_a_script_runs_as_that_user_and_its_directory_goes(root: str) -> None:
    async def story(runner: Runner, root: str) -> None:
        script = "id -u; id -G; touch file; mkdir -p a/b; touch a/b/c; chmod 000 a/b a; exit 3"
        outcome = await runner.run(plan(script, work_root=root))
        uid = str(os.getuid())
        assert (outcome.kind, outcome.exit_code) == (Kind.EXITED, 3), outcome
        assert outcome.stdout.kept.decode().split() == [uid, str(os.getgid())]

    as_ordinary_user(story, root)


@pytest.mark.parametrize(
    "script",
    [
        "setsid sleep 60 & (sleep 60 &) ; sh -c 'trap \"\" TERM; sleep 60' & exit 0",
        "kill -STOP $PPID; setsid sleep 60 & exit 0",
    ],
)
def test_its_tree_is_swept(root: str, script: str) -> None:
    async def story(runner: Runner, root: str) -> None:
        run_id = marker()
        outcome = await runner.run(plan(script, run_id=run_id, work_root=root))
        assert processes_of(run_id) == set()
        assert outcome.kind is Kind.EXITED
        assert not outcome.sweeping.uncertain

    as_ordinary_user(story, root)


def test_a_killed_supervisor_leaves_nothing(root: str) -> None:
    async def story(runner: Runner, root: str) -> None:
        run_id = marker()
        script = "setsid sleep 60 & (sleep 60 &) ; kill -KILL $PPID; sleep 60"
        outcome = await runner.run(plan(script, run_id=run_id, work_root=root))
        assert processes_of(run_id) == set()
        assert outcome.kind is Kind.INTERRUPTED
        assert not outcome.sweeping.uncertain

    as_ordinary_user(story, root)


def test_weak_point_15_a_fork_bomb_meets_its_limit_and_the_sweep_ends_it(root: str) -> None:
    async def story(runner: Runner, root: str) -> None:
        run_id = marker()
        processes = (count_uid_threads(os.getuid()) or 0) + 64
        the_plan = plan(
            "b() { b & b & }; b; b; sleep 0.3", run_id=run_id, work_root=root, processes=processes, wall_s=5
        )
        outcome = await runner.run(the_plan)
        assert processes_of(run_id) == set()
        assert not outcome.sweeping.uncertain

    as_ordinary_user(story, root)


def test_as_much_of_a_limit_as_the_hard_limit_allows_is_set(root: str) -> None:
    async def story(runner: Runner, root: str) -> None:
        outcome = await runner.run(plan("ulimit -H -f; ulimit -S -f", work_root=root, file_bytes=1 << 20))
        assert outcome.stdout.kept == b"128\n128\n"  # blocks of 512 bytes

    def lower_first(inner: Story) -> Story:
        async def lowered(_runner: Runner, root: str) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, 1 << 16))
            async with open_runner(fork_spawner()) as runner:
                await inner(runner, root)

        return lowered

    as_ordinary_user(lower_first(story), root)


def test_the_supervisor_cannot_be_debugged_by_its_script(root: str) -> None:
    async def story(runner: Runner, root: str) -> None:
        outcome = await runner.run(plan("cat /proc/$PPID/environ /proc/$PPID/maps; ls /proc/$PPID/fd", work_root=root))
        assert outcome.stdout.kept == b""
        assert outcome.stderr.kept.count(b"Permission denied") == 3

    as_ordinary_user(story, root)
