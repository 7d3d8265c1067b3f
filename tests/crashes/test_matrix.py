"""Every process is ended by SIGKILL at every crash point, and whatever died is started again.

Each time: the task's script has begun once at most, the control plane has one result of it or says why there is none,
and nothing is left of what died. In the end: usage is billed to the byte, the audit is one chain that knows every
script that ran, and state.db is sound.
"""

import os
import random
import signal
from collections import Counter
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import httpx
import pytest

from tests.crashes import points, table
from tests.crashes.points import POINTS, Point
from tests.crashes.scenes import SCENES
from tests.crashes.world import OUTPUT, PATIENCE_S, World, a_world
from tests.rigs import steered_server
from tests.rigs.extent import extent
from tests.rigs.real_processes import wait_until

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]

SEED: Final = 14
KILLS: Final = int(os.environ.get("LATTICE_KILLS", extent(1, 20)))
"""At each point; the table says how many they were."""
EVERYDAY: Final = frozenset(
    {
        "marked as started, on disk",
        "a result is committed, not answered",
    }
)
SAID_SO: Final = frozenset({"interrupted", "cancelled", "not_started", "expired"})
"""Outcomes other than success that a crash may lead to; each comes with its reason."""


def strike(world: World, point: Point, rng: random.Random) -> list[str]:
    """One crash, and the tasks that it was about."""
    lay = partial(world.fuse.lay, point.name, rng.randint(1, point.most))
    tasks = SCENES[point.scene](world, lay, rng)
    wait_until(lambda: not world.fuse.lies, f"somebody to pass: {point.name}", PATIENCE_S)
    if point.process == points.AGENT:
        world.agent.running.wait_killed()
        world.agent.kill()
    elif point.process == points.SERVER:
        assert world.plane.process.wait(PATIENCE_S) == -signal.SIGKILL
        world.server.kill()
    wait_until(lambda: not world.orphans(), "the end of whatever the dead had started", PATIENCE_S)
    return tasks


def settle(world: World, point: Point, task: str) -> dict[str, Any]:
    """The task, when nothing more is to come of it."""
    if point.scene == points.CANCELLED and world.plane.task(task)["status"] == "leased":
        cancel_again(world, task)
    world.hand_out_again(task)
    shown: dict[str, Any] = wait_until(lambda: world.settled(task), f"an end of {task}", PATIENCE_S)
    wait_until(lambda: world.journal().get(task, "accepted") == "accepted", "the answer to be noted", PATIENCE_S)
    return shown


def cancel_again(world: World, task: str) -> None:
    """As an operator does whose order got no answer."""
    try:
        world.plane.cancel(task)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != HTTPStatus.CONFLICT:  # it has ended meanwhile
            raise


def judge(world: World, task: str, shown: dict[str, Any]) -> str:
    """What became of the task, in the control plane's word. Fails if that cannot be the truth."""
    ((word, _),) = shown["outcomes"].items()
    if shown["targets"][0]["state"] == "expired":
        word = "expired"  # "timed out" in the control plane's words: the clock was that of the queue
    began, results = world.began(task), shown["results"]
    assert began <= 1, f"{task} was started {began} times"
    if word == "succeeded":
        assert (began, world.ended(task)) == (1, 1)
        assert results[0]["stdout"].strip() == OUTPUT
    else:
        assert word in SAID_SO, shown
        assert shown["targets"][0]["text"], shown
    assert began == 0 or word not in ("not_started", "expired"), shown
    assert len(results) == (0 if word == "expired" else 1), shown
    return word


def fate_of(words: Counter[str], stored: Counter[str]) -> str:
    """The table's words for it."""
    assert max(stored.values(), default=0) <= 1, "a result was stored twice"
    count = words.total()
    if words["expired"] == count:
        return f"{count} of {count} ended once, as expired"
    assert len(stored) == count
    return f"{count} of {count} reported once: " + ", ".join(f"{words[word]} {word}" for word in sorted(words))


def expect_usage_billed(world: World) -> str:
    wait_until(lambda: world.billed() >= world.counted, "all usage to be billed", PATIENCE_S)
    assert world.billed() == world.counted
    return "billed to the byte"


def expect_sound(world: World, ran: set[str]) -> None:
    """At the end of the last life."""
    assert ran <= world.audited(), "a script ran that the audit does not know"
    assert world.agent.running.stop() == 0
    world.agent.kill()
    wait_until(lambda: not world.orphans(), "the end of everything", PATIENCE_S)
    assert world.state_is_sound()


def chosen(point: Point) -> Any:
    mark = pytest.mark.sized if point.name in EVERYDAY else pytest.mark.long
    return pytest.param(point, marks=mark, id=str(point))


@pytest.mark.parametrize("point", [chosen(point) for point in POINTS])
def test_killed_at_the_point(point: Point) -> None:
    rng = random.Random(f"{SEED} {point}")
    words = Counter[str]()
    ran: set[str] = set()
    with a_world(steered_server.BASE if point.scene == points.BASE_USAGE else steered_server.EXTENDED) as world:
        for _ in range(KILLS):
            tasks = strike(world, point, rng)
            world.revive()
            for task in tasks:
                words[judge(world, task, settle(world, point, task))] += 1
                ran |= {task} if world.began(task) else set()
            assert world.left_behind() == []
            assert world.audit_break() == ""
            assert world.billed() <= world.counted
        fate = fate_of(words, world.plane.stored(world.site.node))
        usage = expect_usage_billed(world)
        expect_sound(world, ran)
    row = f"{point.process}: {point.name}"
    for column, seen in zip(table.COLUMNS, (str(KILLS), fate, usage, "nothing"), strict=True):
        table.CRASHES.note(row, column, seen)
