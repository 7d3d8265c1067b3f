"""What the control plane does without being asked.

Once an hour it tells of users who are about to expire or have: their time runs out whether or not a node reports
traffic of theirs. Billing months and statuses need no such work, they follow from the account and the clock whenever
somebody looks. And every two seconds it closes control streams whose node was disabled or given another token.
"""

import logging
from functools import partial
from typing import Final, NoReturn

import anyio

from server_stub.actions.alerts import fire_all_expiry_alerts
from server_stub.api.plane import Plane
from server_stub.errors import StoreError

EVERY_SECONDS: Final = 3_600
REVOKE_SECONDS: Final = 2
_LOG: Final = logging.getLogger("lattice_control")


async def tend(plane: Plane) -> None:
    """All of it, until it is cancelled."""
    async with anyio.create_task_group() as group:
        group.start_soon(sweep_hourly, plane)
        group.start_soon(close_revoked_streams, plane)


async def close_revoked_streams(plane: Plane) -> NoReturn:
    """Goes on until it is cancelled; credentials are looked up in memory."""
    while True:
        await anyio.sleep(REVOKE_SECONDS)
        plane.streams.revoke(plane.store.node_of)


async def sweep_hourly(plane: Plane) -> NoReturn:
    """Goes on until it is cancelled; a database that fails is tried again an hour later."""
    while True:
        try:
            await plane.write(partial(fire_all_expiry_alerts, now=plane.now()))
        except StoreError as error:
            _LOG.error("users about to expire were not looked at: %s", error)
        await anyio.sleep(EVERY_SECONDS)
