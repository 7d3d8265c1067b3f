"""Telling of changes, once they are on disk: those who watch a task, and nodes that there is work for."""

import random
from collections.abc import Iterable

from server_stub.actions.outcomes import Settled
from server_stub.api.plane import Plane
from server_stub.rules.fan_out import woken
from server_stub.store.records import Task


def announce(plane: Plane, changed: Iterable[Settled]) -> None:
    """For the event loop's thread. Waiting nodes without a control stream find the work by their next poll."""
    settled = tuple(changed)
    plane.watch.changed([task.task_id for task in settled])
    plane.watch.ended([task.task_id for task in settled if task.ended])
    for task in settled:
        connected = [node_id for node_id in task.waiting if plane.streams.connected(node_id)]
        plane.streams.wake(random.sample(connected, min(len(connected), woken(task.free))))


def announce_new(plane: Plane, task: Task) -> None:
    """Those of its nodes that can be told of it are, as far as there are places."""
    free = task.concurrency or len(task.nodes)
    announce(plane, [Settled(task.id, ended=False, free=free, waiting=task.nodes)])
