"""The agent's line to the spawner: sends requests, hears what became of lost runs, starts a new spawner when one died.

Runs are numbered here; a number is never used twice. While no spawner is up, ``send`` waits (bounded). Nothing here
starts a process from any but the main thread: the service runs in trio's own thread, which has to be that one.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import trio

from lattice_agent.errors import PrivilegesGoneError, SandboxError, SpawnerGoneError
from lattice_agent.exec.cell_pool import CellPool
from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.plan import Profile
from lattice_agent.exec.requests import (
    FROM_SPAWNER,
    MAX_MESSAGE,
    CellFailed,
    CellGone,
    CellReady,
    KillCell,
    Message,
    Refused,
    RefusedMessageError,
    RunGone,
    decode,
    encode,
    number_in,
)

log = logging.getLogger(__name__)

SEND_S: Final = 10.0
"""How long a request waits for a spawner that is being restarted or does not read; then the run has failed to start."""
RESTART_FIRST_S: Final = 0.05
RESTART_MOST_S: Final = 5.0
"""Pause before a restart: doubles from the first to the most while spawners die young, and starts over otherwise."""
YOUNG_S: Final = 10.0


@dataclass
class RunTicket:
    """A run's place in the link: its number, whom to tell that the spawner died, and what the spawner told of it."""

    number: int
    on_spawner_gone: Callable[[], None]
    gone: trio.Event = field(default_factory=trio.Event)
    """Set when the spawner has swept what the run's supervisor left, or died itself."""
    orphans_killed: int = 0
    refusal: str = ""
    """Why the spawner did not start it, if it said so."""


class SpawnerLink:
    """One spawner at a time, restarted by ``serve``."""

    def __init__(self, spawner: SpawnerProcess, default: Profile | None = None) -> None:
        """``default``: the profile of which cells are kept ready."""
        self.cells = CellPool(self, default)
        self._uid = os.geteuid()
        self._spawner = spawner
        self._socket = trio.socket.from_stdlib_socket(spawner.socket)
        self._up = trio.Event()
        self._up.set()
        self._tickets: dict[int, RunTicket] = {}  # bounded by the caller's slots
        self._numbers = count(1)
        self._restarts = 0

    @property
    def spawner_pid(self) -> int:
        """Process id of the present spawner."""
        return self._spawner.pid

    @property
    def restarts(self) -> int:
        """How often a spawner had to be replaced."""
        return self._restarts

    def enter(self, on_spawner_gone: Callable[[], None]) -> RunTicket:
        """A number for a new run; ``leave`` with it in the end."""
        ticket = RunTicket(next(self._numbers), on_spawner_gone)
        self._tickets[ticket.number] = ticket
        return ticket

    def leave(self, ticket: RunTicket) -> None:
        """The run is over; what the spawner still says of it is ignored."""
        self._tickets.pop(ticket.number, None)

    def number(self) -> int:
        """A number for a new cell."""
        return next(self._numbers)

    def post(self, message: Message) -> bool:
        """Send one request without waiting; False if no spawner takes it now."""
        return self._up.is_set() and seqpacket.send(self._spawner.socket, encode(message))

    async def send(self, message: Message, descriptors: list[int]) -> None:
        """Send one request. Raises SpawnerGoneError when no spawner took it within SEND_S."""
        if not descriptors and self.post(message):
            return
        data = encode(message)
        with trio.move_on_after(SEND_S):
            while True:
                await self._up.wait()
                try:
                    await self._socket.sendmsg([data], seqpacket.rights(descriptors))
                except (OSError, trio.ClosedResourceError):
                    # Dead, and ``serve`` has not noticed yet: the next round waits for its successor.
                    await trio.sleep(RESTART_FIRST_S)
                else:
                    return
        raise SpawnerGoneError(f"no spawner took the request within {SEND_S:.0f} s")

    async def serve(self) -> None:
        """Listen to the spawner and replace it when it dies; never returns."""
        pause = RESTART_FIRST_S
        while True:
            if self._up.is_set():
                started = trio.current_time()
                await self._listen()
                self._went_down()
                if trio.current_time() - started > YOUNG_S:
                    pause = RESTART_FIRST_S
            await trio.sleep(pause)
            pause = min(pause * 2, RESTART_MOST_S)
            self._restart()

    def replace(self) -> None:
        """Kill a spawner that does not answer; ``serve`` sees its end and starts another."""
        log.error("spawner %d does not answer; replacing it", self._spawner.pid)
        self._spawner.process.kill()

    def close(self) -> None:
        """End the spawner and everything below it. Blocks until it is gone."""
        self.cells.close()
        self._socket.close()
        self._spawner.close()

    async def _listen(self) -> None:
        """Until the spawner's end."""
        self.cells.spawner_started()
        while True:
            await trio.lowlevel.wait_readable(self._spawner.socket)
            passed: list[int] = []
            try:
                received = seqpacket.receive(self._spawner.socket, MAX_MESSAGE)
                if received is None:
                    continue
                data, passed = received
                if not data:
                    return
                self._hear(decode(data, FROM_SPAWNER, len(passed)), passed)
            except seqpacket.CutMessageError as error:
                self._lost_on_the_way(error)
            except RefusedMessageError as error:
                seqpacket.close_all(passed)
                log.error("spawner said something unintelligible: %s", error)
            except OSError:
                return

    def _hear(self, message: Message, passed: list[int]) -> None:
        if isinstance(message, CellReady | CellFailed | CellGone):
            self.cells.hear(message, passed)
            return
        assert isinstance(message, Refused | RunGone)
        ticket = self._tickets.get(message.run)
        if isinstance(message, Refused):
            reason = message.reason.decode("utf-8", "replace")
            if ticket is not None:
                ticket.refusal = reason  # the run's own outcome tells it
            elif message.run:
                self.cells.failed(message.run, reason)
            else:
                log.error("spawner refused a request: %s", reason)
        elif ticket is not None:
            ticket.orphans_killed = message.killed
            ticket.gone.set()

    def _lost_on_the_way(self, error: seqpacket.CutMessageError) -> None:
        """A cell came for whose ends this process has no descriptor left."""
        number = number_in(error.data, FROM_SPAWNER)
        if not number:
            log.error("spawner said something unintelligible: %s", error)
            return
        self.cells.failed(number, str(error))
        self.post(KillCell(number))

    def _went_down(self) -> None:
        log.error("spawner %d died; what it was running is interrupted", self._spawner.pid)
        self._up = trio.Event()
        self.cells.spawner_died()
        self._socket.close()
        self._spawner.kill()
        for ticket in list(self._tickets.values()):
            ticket.gone.set()
            ticket.on_spawner_gone()

    def _restart(self) -> None:
        if os.geteuid() != self._uid:
            raise PrivilegesGoneError("the spawner died, and this agent has given up the privileges to start another")
        try:
            self._spawner = start_spawner()
        except SandboxError as error:
            log.error("%s; %s", error, error.hint())
            return
        self._socket = trio.socket.from_stdlib_socket(self._spawner.socket)
        self._restarts += 1
        self._up.set()
        log.warning("spawner %d started in its place", self._spawner.pid)
