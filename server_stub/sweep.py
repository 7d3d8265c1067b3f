"""What the control plane does without being asked: once an hour it tells of users who are about to expire or have.

Their time runs out whether or not a node reports traffic of theirs. Billing months and statuses need no such work: they
follow from the account and the clock whenever somebody looks.
"""

import logging
from functools import partial
from typing import Final, NoReturn

import anyio

from server_stub.actions.alerts import fire_all_expiry_alerts
from server_stub.api.plane import Plane
from server_stub.errors import StoreError

EVERY_SECONDS: Final = 3_600
_LOG: Final = logging.getLogger("lattice_control")


async def sweep_hourly(plane: Plane) -> NoReturn:
    """Goes on until it is cancelled; a database that fails is tried again an hour later."""
    while True:
        try:
            await plane.write(partial(fire_all_expiry_alerts, now=plane.now()))
        except StoreError as error:
            _LOG.error("users about to expire were not looked at: %s", error)
        await anyio.sleep(EVERY_SECONDS)
