"""What brings a process to a crash point: each scene lays the fuse and goes on until the point must be passed.

A scene returns the tasks that it is about. Gates that scripts wait for stay closed: what the crash leaves running has
no other way to end than to be ended.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import httpx

from tests.crashes import points
from tests.crashes.world import HOST_HEADER, PATIENCE_S, World
from tests.rigs import steering
from tests.rigs.real_processes import wait_until

Lay = Callable[[], None]
Scene = Callable[[World, Lay, random.Random], list[str]]
A_DAY_S: Final = 25 * 3600.0
QUEUED_S: Final = 60


def a_task(world: World, lay: Lay, rng: random.Random) -> list[str]:
    """One that takes a moment; with some traffic of the proxy meanwhile."""
    lay()
    world.count_traffic(rng.randrange(1, 10_000))
    return [world.create(f"sleep 0.{rng.randrange(10):02}")]


def a_host_task(world: World, lay: Lay, rng: random.Random) -> list[str]:
    lay()
    return [world.create(f"sleep 0.{rng.randrange(10):02}", header=HOST_HEADER)]


def a_talkative_task(world: World, lay: Lay, rng: random.Random) -> list[str]:
    """Writes and writes, on its standard error: for so long that the point is passed on any machine."""
    lay()
    return [world.create("i=0; while [ $i -lt 1000 ]; do echo line $i >&2; i=$((i + 1)); sleep 0.01; done")]


def a_cancelled_task(world: World, lay: Lay, rng: random.Random) -> list[str]:
    task = _one_that_waits(world)
    lay()
    with suppress(httpx.TransportError):  # the control plane may be what dies of it
        world.plane.cancel(task)
    return [task]


def a_task_that_outlives_its_lease(world: World, lay: Lay, rng: random.Random) -> list[str]:
    """The poll of the other slot brings it again."""
    task = _one_that_waits(world)
    lay()
    world.plane.let_leases_die()
    return [task]


def an_interrupted_task(world: World, lay: Lay, rng: random.Random) -> list[str]:
    """The life that finds it started is the one that dies."""
    task = _one_that_waits(world)
    world.agent.kill()
    lay()
    world.agent.start()
    return [task]


def a_day_later(world: World, lay: Lay, rng: random.Random) -> list[str]:
    """What has ended is old enough to be forgotten."""
    task = world.create()
    wait_until(lambda: world.journal().get(task) == "accepted", "a result that is accepted", PATIENCE_S)
    world.agent.kill()
    world.plane.steer(ahead_s=steering.read(world.plane.steering_file).ahead_s + A_DAY_S)
    lay()
    world.agent.start()
    return [task]


def a_task_that_waits_too_long(world: World, lay: Lay, rng: random.Random) -> list[str]:
    """For a node that does not come."""
    task = world.create(node=world.absent, queue_timeout_sec=QUEUED_S)
    lay()
    world.plane.steer(ahead_s=steering.read(world.plane.steering_file).ahead_s + QUEUED_S + 1)
    return [task]


def _one_that_waits(world: World) -> str:
    """A task that has begun and would never end."""
    task = world.create(world.gate("never").wait)
    wait_until(lambda: world.began(task), "a script that begins", PATIENCE_S)
    return task


SCENES: Final[dict[str, Scene]] = {
    points.TASK: a_task,
    points.HOST_TASK: a_host_task,
    points.TALKATIVE_TASK: a_talkative_task,
    points.CANCELLED: a_cancelled_task,
    points.OUTLIVED: a_task_that_outlives_its_lease,
    points.INTERRUPTED: an_interrupted_task,
    points.A_DAY_LATER: a_day_later,
    points.QUEUED_TOO_LONG: a_task_that_waits_too_long,
    points.USAGE: a_task,
    points.BASE_USAGE: a_task,
}
