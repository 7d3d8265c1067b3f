"""Keeps the control stream open while the server announces ``control.tasks`` (protocol reference 1.13).

The stream only makes things sooner: whatever is said on it can be learned without it. So it may fail at any time, and
nobody waits for it. Orders come in and go to the conversation at once; what the conversation has to say goes out.
"""

import logging
import random
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

import trio

from lattice_agent.link.backoff import Backoff
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line, Reply
from lattice_agent.link.patience import Patience
from lattice_agent.link.verdict import Kind, Verdict
from lattice_agent.wire.base import WireError, decode
from lattice_agent.wire.control import Order
from lattice_agent.wire.ext import CONTROL_TASKS

if TYPE_CHECKING:
    from lattice_agent.link.websocket import WebSocket

log = logging.getLogger(__name__)

PATH: Final = "/api/agent/control/stream"
RETRY_BASE_S, RETRY_CAP_S = 1.0, 15.0
REFUSED_BASE_S, REFUSED_CAP_S = 30.0, 600.0
"""A refusal that is neither of the token nor of the pace (a proxy without WebSockets) takes a human to end."""
STEADY_S: Final = 60.0
"""A stream that lived so long was a good one: the next try is an early one again."""


class Conversation(Protocol):
    """The agent's side of what is said. ``opened``, ``closed`` and ``order`` do not wait and do not raise."""

    def opened(self) -> None:
        """A stream is open; nothing of an earlier one counts any more."""

    def closed(self) -> None:
        """It is gone. Comes once after every ``opened``."""

    def order(self, order: Order) -> None:
        """The server says this; types that are not known are to be ignored."""

    async def next_frame(self) -> str | bytes:
        """Waits for what is to be sent next. It counts as sent: what does not arrive is said anew after ``opened``."""


class After(Enum):
    """What follows the end of a stream, or the answer that came instead of one."""

    TROUBLE = auto()
    """Try again soon, then more slowly; later if the server says so, much later after 401."""
    REFUSED = auto()
    """Try again in a minute, in ten minutes at last."""
    WITHDRAW = auto()
    """There is no such thing as this stream; not again before it is announced anew."""


def what_follows(verdict: Verdict, status: int | None) -> After:
    """The decision; ``status`` is that of an answer without an upgrade, None if a stream was open or nothing came."""
    if status in (404, 405):
        return After.WITHDRAW
    return After.REFUSED if verdict.kind is Kind.REFUSED else After.TROUBLE


class ControlStream:
    """The service that opens the stream, again and again."""

    name = "control stream"

    def __init__(self, line: Line, features: Features, conversation: Conversation, *, rng: random.Random) -> None:
        self._line = line
        self._features = features
        self._conversation = conversation
        self._rng = rng
        self._patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        self._refused = Backoff(REFUSED_BASE_S, REFUSED_CAP_S)
        self._connected = False
        self._changed = trio.Event()
        features.on_change(self._announcement_changed)

    @property
    def connected(self) -> bool:
        """Whether the stream is open now."""
        return self._connected

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a stream open for ever, whenever it is announced."""
        task_status.started()
        while True:
            await self._until_wanted(True)
            delay_s = await self._one_stream()
            with trio.move_on_after(delay_s):
                await self._until_wanted(False)

    async def _one_stream(self) -> float:
        """One stream, from its opening to its end; returns the seconds until the next may be opened."""
        opened_at: list[float] = []

        async def talk(socket: "WebSocket") -> None:
            opened_at.append(trio.current_time())
            await self._talk(socket)

        reply = await self._line.converse(PATH, talk)
        if reply.ok or (opened_at and trio.current_time() - opened_at[0] >= STEADY_S):
            self._patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        if opened_at:
            self._refused.succeeded()
        return self._delay_after(reply)

    def _delay_after(self, reply: Reply) -> float:
        match what_follows(reply.verdict, reply.answer.status if reply.answer else None):
            case After.WITHDRAW:
                log.warning("the control plane announces %s but has no control stream; polling goes on", CONTROL_TASKS)
                self._features.withdraw(CONTROL_TASKS)
                return 0.0
            case After.REFUSED:
                return self._refused.failed(self._rng, reply.verdict.retry_after_s)
            case After.TROUBLE:
                return self._patience.after(reply.verdict, self._rng)

    async def _talk(self, socket: "WebSocket") -> None:
        """Until the stream ends (LinkError) or is not announced any more."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._exchange, socket)
            await self._until_wanted(False)
            nursery.cancel_scope.cancel()

    async def _exchange(self, socket: "WebSocket") -> None:
        """What is said counts from the first word on: before it, polling must not become rare."""
        await socket.heard()
        log.info("control stream: open")
        self._connected = True
        self._conversation.opened()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, socket)
                nursery.start_soon(self._read, socket)
        finally:
            self._connected = False
            self._conversation.closed()

    async def _read(self, socket: "WebSocket") -> None:
        told = False
        while True:
            message = await socket.receive()
            try:
                order = decode(Order, message.encode() if isinstance(message, str) else message)
            except WireError as error:
                # Once: a server that speaks nothing else must not fill the disk with it.
                log.log(logging.DEBUG if told else logging.WARNING, "control stream: a frame is ignored: %s", error)
                told = True
                continue
            self._conversation.order(order)

    async def _write(self, socket: "WebSocket") -> None:
        while True:
            await socket.send(await self._conversation.next_frame())

    async def _until_wanted(self, wanted: bool) -> None:
        while self._features.has(CONTROL_TASKS) is not wanted:
            await self._changed.wait()

    def _announcement_changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
