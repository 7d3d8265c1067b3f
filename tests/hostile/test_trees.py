"""A thousand trees that try to outlive their task, two at a time, while an innocent task runs through beside them."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import trio

from lattice_agent.exec.launch import start_spawner
from lattice_agent.exec.outcome import Kind
from lattice_agent.exec.runner import Runner, open_runner
from tests.hostile.places import Place
from tests.hostile.rig import leaves_something_unswept, marker, plan, processes_of
from tests.rigs.extent import extent

TREES = extent(48, 1000)
OUTER_LIMIT_S = 120

NEW_SESSION = "setsid sleep 300 &"
DOUBLE_FORK = "( (sleep 300 &) & ) &"
DOUBLE_FORK_IN_NEW_SESSION = "(setsid sh -c '(sleep 300 &)' &)"
DEAF = "sh -c 'trap \"\" TERM HUP INT QUIT; sleep 300; sleep 300' &"
DEAF_DAEMON = "(setsid sh -c 'trap \"\" TERM HUP; exec >/dev/null 2>&1; cd /; sleep 300; sleep 300' &)"
STOPPED = "sh -c 'kill -STOP $$; sleep 300' &"
WIDE = "for i in 1 2 3 4 5; do setsid sleep 300 & done"
DEEP = 'sh -c "sh -c \'setsid sh -c \\"sleep 300; sleep 300\\" & sleep 300\' & sleep 300" &'
SHAPES = {
    "new session": NEW_SESSION,
    "double fork": DOUBLE_FORK,
    "double fork in a new session": DOUBLE_FORK_IN_NEW_SESSION,
    "deaf to signals": DEAF,
    "deaf daemon": DEAF_DAEMON,
    "stopped": STOPPED,
    "wide": WIDE,
    "deep": DEEP,
}
ATTACKS = list(SHAPES.values())
ENDINGS = ["exit 0", "exit 1", "kill -KILL $$", "sleep 0.01"]


@pytest.mark.hostile
@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_leaves_a_process_behind_where_nobody_sweeps(attack: str) -> None:
    assert leaves_something_unswept(attack)


@pytest.mark.hostile
@pytest.mark.needs_root
@pytest.mark.needs_netns
@pytest.mark.parametrize("shape", SHAPES)
def test_a_tree_goes_with_the_script(shape: str, place: Place) -> None:
    seen = place.run("sh", text=f"{SHAPES[shape]}\nexit 3")
    assert (seen.kind, seen.exit_code, seen.uncertain) == ("exited", 3, False)
    place.verdict(shape, "killed with the script")


@pytest.mark.long
@pytest.mark.hostile
@pytest.mark.sized
async def test_a_thousand_trees_leave_nothing_and_disturb_nobody(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with trio.fail_after(OUTER_LIMIT_S):
        async with open_runner(start_spawner()) as runner, observing() as observer:
            innocent = marker()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_innocent, runner, innocent, go)
                async with trio.open_nursery() as slots:
                    numbers = count()
                    for _ in range(2):
                        slots.start_soon(run_trees, runner, numbers, observer)
                assert processes_of(innocent), "the innocent task must still be running"
                go.touch()
            report = await observer.report()
    assert report == {"checked": TREES, "survivors": []}


class Observer:
    """The other side of ``observer.py``."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._turn = trio.Lock()  # two slots talk to it

    async def ended(self, task_id: str) -> None:
        """The task's outcome is there."""
        await self._say(f"ended {task_id}\n")

    async def report(self) -> object:
        """What it saw, once it has looked for every task."""
        await self._say("report\n")
        assert self._process.stdout is not None
        text = b""
        async for chunk in self._process.stdout:
            text += chunk
        return json.loads(text)

    async def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        async with self._turn:
            await self._process.stdin.send_all(text.encode())


@asynccontextmanager
async def observing() -> AsyncGenerator[Observer, None]:
    program = Path(__file__).with_name("observer.py")
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Observer(process)
    finally:
        process.kill()
        await process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.aclose()
        await process.stdout.aclose()


async def run_trees(runner: Runner, numbers: "count[int]", observer: Observer) -> None:
    """One slot: takes the next tree until there are none."""
    while (number := next(numbers)) < TREES:
        task_id = marker()
        attack = ATTACKS[number % len(ATTACKS)]
        ending = ENDINGS[number // len(ATTACKS) % len(ENDINGS)]
        times_out = number % 25 == 0
        outcome = await runner.run(
            plan(
                f"{attack}\n{'sleep 300' if times_out else ending}",
                run_id=task_id,
                wall_s=0.05 if times_out else 60,
                grace_s=0.05,
            )
        )
        await observer.ended(task_id)
        assert outcome.kind in ((Kind.TIMED_OUT,) if times_out else (Kind.EXITED, Kind.SIGNALLED)), outcome
        assert not outcome.sweeping.uncertain


async def run_innocent(runner: Runner, task_id: str, go: Path) -> None:
    """Works on until it is told to end, with children of its own that must live."""
    script = (
        f"sleep 300 & child=$!\nwhile [ ! -e {go} ]; do sleep 0.05; done\nkill -0 $child && echo undisturbed; exit 0"
    )
    outcome = await runner.run(plan(script, run_id=task_id, wall_s=OUTER_LIMIT_S))
    assert (outcome.kind, outcome.exit_code, outcome.stdout.kept) == (Kind.EXITED, 0, b"undisturbed\n")
