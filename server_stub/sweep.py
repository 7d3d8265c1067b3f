"""What the control plane does without being asked.

Once an hour it tells of users who are about to expire or have: their time runs out whether or not a node reports
traffic of theirs. Billing months and statuses need no such work, they follow from the account and the clock whenever
somebody looks. Every two seconds it closes control streams whose node was disabled or given another token. Every three
it ends targets that were queued for too long, and those whose end was asked for and whose lease has died, and tells
nodes of leases that have died otherwise.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NoReturn

import anyio

from server_stub.actions.alerts import fire_all_expiry_alerts
from server_stub.actions.giving_up import give_up_overdue
from server_stub.actions.lapsing import lapsed
from server_stub.api.announce import announce
from server_stub.api.plane import Plane
from server_stub.errors import StoreError

EVERY_SECONDS: Final = 3_600
REVOKE_SECONDS: Final = 2
TASKS_SECONDS: Final = 3
AGAIN_SECONDS: Final = 60
TARGETS_AT_ONCE: Final = 256
"""Of either kind, in one transaction; the next turn finds the rest."""
_LOG: Final = logging.getLogger("lattice_control")


async def tend(plane: Plane) -> None:
    """All of it, until it is cancelled."""
    async with anyio.create_task_group() as group:
        for watch in (sweep_hourly, close_revoked_streams, sweep_tasks):
            group.start_soon(_begun_again, watch, plane)


async def _begun_again(watch: Callable[[Plane], Awaitable[NoReturn]], plane: Plane) -> NoReturn:
    while True:
        try:
            await watch(plane)
        except Exception:  # noqa: BLE001  # a fault of ours in one watch must not end the others: revoked streams would stay
            _LOG.exception("%s failed; it begins again in %d s", watch.__name__, AGAIN_SECONDS)
        await anyio.sleep(AGAIN_SECONDS)


async def close_revoked_streams(plane: Plane) -> NoReturn:
    """Goes on until it is cancelled; credentials are looked up in memory."""
    while True:
        await anyio.sleep(REVOKE_SECONDS)
        plane.streams.revoke(plane.store.node_of)


async def sweep_tasks(plane: Plane) -> NoReturn:
    """Goes on until it is cancelled; a database that fails is tried again, and told of once until it works."""
    works, looked_at = True, plane.now()
    while True:
        await anyio.sleep(TASKS_SECONDS)
        now = plane.now()
        try:
            give_up = partial(give_up_overdue, plane.store, now, TARGETS_AT_ONCE)
            announce(plane, await plane.run_sync(give_up))
            dead = await plane.read(partial(lapsed, since=looked_at, until=now, most=TARGETS_AT_ONCE))
            plane.streams.wake(dead.nodes)
            announce(plane, dead.tasks)
            works, looked_at = True, now
        except StoreError as error:
            if works:
                _LOG.error("overdue targets were not looked at: %s", error)
            works = False


async def sweep_hourly(plane: Plane) -> NoReturn:
    """Goes on until it is cancelled; a database that fails is tried again an hour later."""
    while True:
        try:
            await plane.write(partial(fire_all_expiry_alerts, now=plane.now()))
        except StoreError as error:
            _LOG.error("users about to expire were not looked at: %s", error)
        await anyio.sleep(EVERY_SECONDS)
