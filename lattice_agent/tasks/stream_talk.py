"""What the control stream means for tasks: orders go to whom they concern, live output comes from where it gathers."""

import logging

from lattice_agent.tasks.intake import Intake
from lattice_agent.tasks.live_sender import LiveSender
from lattice_agent.tasks.run import Runs
from lattice_agent.wire import control
from lattice_agent.wire.control import Order

log = logging.getLogger(__name__)


class StreamTalk:
    """The ``Conversation`` of ``link.control_stream``."""

    def __init__(self, intake: Intake, runs: Runs, live: LiveSender) -> None:
        self._intake = intake
        self._runs = runs
        self._live = live

    def opened(self) -> None:
        """To all whom it concerns."""
        self._intake.stream_opened()
        self._live.opened()

    def closed(self) -> None:
        """To all whom it concerns."""
        self._intake.stream_closed()
        self._live.closed()

    def order(self, order: Order) -> None:
        """Carry it out; nothing of it waits. Other types (``terminal.open``) are for later agents."""
        match order.type:
            case control.TASK_READY:
                self._intake.wake()
            case control.TASK_CANCEL:
                self._runs.cancel(order.task_id)
            case control.DRAIN:
                self._intake.drain(order.on)
            case control.OUTPUT_FROM:
                self._live.output_from(order.task_id, order.lease_id, order.position)
            case _:
                log.debug("control stream: %r is not for this agent", order.type[:64])

    async def next_frame(self) -> str | bytes:
        """The next frame of live output."""
        return await self._live.next_frame()
