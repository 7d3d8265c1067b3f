"""Reports the inventory to control planes that announce that they take it (docs/protocol.md, ``facts.inventory``).

It is collected once a minute and sent when something has changed since the report that was taken last; at the latest
after ten minutes, so that the use of file systems does not get old. What has changed is logged, once.
"""

import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import trio

from lattice_agent.complaints import Complaints
from lattice_agent.facts.inventory.changes import inventory_changes
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line
from lattice_agent.link.patience import Patience, spread
from lattice_agent.link.verdict import Kind
from lattice_agent.wire.base import BODY_LIMIT, encode
from lattice_agent.wire.ext import HOST_INVENTORY
from lattice_agent.wire.fact import Gap
from lattice_agent.wire.host_inventory import HostInventory, HostInventoryReport

log = logging.getLogger(__name__)

PATH: Final = "/api/agent/inventory"
PERIOD_S: Final = 60.0
RESEND_S: Final = 600.0
UNANNOUNCED_S: Final = 5.0
"""How often the service looks whether the inventory is wanted, while it is not."""
RETRY_BASE_S, RETRY_CAP_S = 2.0, 60.0
JITTER: Final = 0.1
_GIVEN_UP_FIRST: Final = ("interfaces", "filesystems", "disks")


class InventoryService:
    """The service that collects and reports. ``collect`` blocks, so ``run_sync`` must offer a thread of its own."""

    name = "inventory"

    def __init__(
        self,
        line: Line,
        features: Features,
        *,
        node_id: str,
        collect: Callable[[datetime], HostInventory],
        run_sync: Callable[..., Any],
        wall_now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._line = line
        self._features = features
        self._node_id = node_id
        self._collect = collect
        self._run_sync = run_sync
        self._wall_now = wall_now
        self._rng = rng
        self._seen: HostInventory | None = None
        self._taken: HostInventory | None = None
        self._taken_at_s = 0.0
        self._complaints = Complaints(log, logging.WARNING)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Collect and report for ever; nothing is collected while nobody wants it."""
        patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        task_status.started()
        while True:
            if not self._features.has(HOST_INVENTORY):
                self._taken = None  # another server may be there next
                await trio.sleep(UNANNOUNCED_S)
                continue
            inventory = await self._collected()
            if inventory is not None and self._is_due(inventory):
                await self._report(inventory, patience)
            await trio.sleep(spread(PERIOD_S, JITTER, self._rng))

    async def _collected(self) -> HostInventory | None:
        """None where there is no thread to collect in, or no descriptor to load the code with."""
        try:
            inventory: HostInventory = await self._run_sync(self._collect, self._wall_now())
        except OSError as error:
            self._complaints.say(
                self.name, f"inventory not collected: {error.strerror or error}; tried again in a minute"
            )
            return None
        self._complaints.over(self.name, "inventory collected again")
        self._note_changes(inventory)
        return inventory

    def _note_changes(self, inventory: HostInventory) -> None:
        for change in inventory_changes(self._seen, inventory) if self._seen else ():
            log.info("inventory: %s", change)
        self._seen = inventory

    def _is_due(self, inventory: HostInventory) -> bool:
        if self._taken is None or trio.current_time() - self._taken_at_s >= RESEND_S:
            return True
        return bool(inventory_changes(self._taken, inventory))

    async def _report(self, inventory: HostInventory, patience: Patience) -> None:
        """Sends it until the server has said what becomes of it; while it cannot be reached, nothing is newer."""
        body = fitting_report(self._node_id, inventory)
        while self._features.has(HOST_INVENTORY):
            reply = await self._line.post(PATH, body)
            delay_s = patience.after(reply.verdict, self._rng)
            if reply.ok:
                self._taken, self._taken_at_s = inventory, trio.current_time()
                return
            if reply.verdict.kind is Kind.REFUSED:
                log.warning("the control plane refuses the inventory; it is not sent again: %s", reply.verdict.text)
                self._features.withdraw(HOST_INVENTORY)
                return
            await trio.sleep(delay_s)


def fitting_report(node_id: str, inventory: HostInventory) -> bytes:
    """The request's body; when it would exceed the body limit, the longest lists become gaps, one by one."""
    for name in ("", *_GIVEN_UP_FIRST):
        if name:
            gap = Gap(family=name, reason=f"left out: the report would be longer than {BODY_LIMIT} bytes")
            inventory = inventory.model_copy(update={name: (), "gaps": (*inventory.gaps, gap)})
        body = encode(HostInventoryReport(node_id=node_id, inventory=inventory))
        if len(body) <= BODY_LIMIT:
            break
    return body
