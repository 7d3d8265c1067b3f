"""One exchange with its verdict noted: what the services talk through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from lattice_agent.errors import LinkError
from lattice_agent.link.answer import Answer
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.errors import Reason, UnreachableError
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.verdict import Kind, Verdict, classify

if TYPE_CHECKING:
    from lattice_agent.link.websocket import Talk, WebSocket

_OPEN: Final = Verdict(Kind.OK, "a WebSocket is open")
_HINT: Final = "check that the proxy before the control plane lets WebSockets through"
_BEFORE_THE_REQUEST: Final = frozenset({Reason.DNS, Reason.CONNECT, Reason.PIN})


@dataclass(frozen=True)
class Reply:
    """``answer`` is None if none came that can be used; ``verdict`` says what that means.

    ``never_sent``: there was no connection, so the server has certainly not seen the request.
    """

    verdict: Verdict
    answer: Answer | None
    never_sent: bool = False

    @property
    def ok(self) -> bool:
        """2xx."""
        return self.verdict.kind is Kind.OK


class Line:
    """The control plane as the services see it: never raises for what the network or the server does."""

    def __init__(self, plane: ControlPlane, health: LinkHealth) -> None:
        self._plane = plane
        self._health = health

    @property
    def last_ok_s(self) -> float | None:
        """trio time of the last exchange that went well, on any path; None before the first."""
        return self._health.last_ok_s

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Reply:
        """One GET, noted in the link's health."""
        try:
            return self._noted(path, await self._plane.get(path, params))
        except LinkError as error:
            return self._noted(path, error)

    async def post(self, path: str, body: bytes, *, urgent: bool = False) -> Reply:
        """One POST, noted in the link's health. ``urgent``: the heartbeat's own lane."""
        try:
            return self._noted(path, await self._plane.post(path, body, urgent=urgent))
        except LinkError as error:
            return self._noted(path, error)

    async def converse(self, path: str, talk: "Talk") -> Reply:
        """A WebSocket until ``talk`` returns or the connection ends; noted when it opens and when it ends.

        The reply is ok if ``talk`` ended it; ``answer`` is what came instead of a WebSocket.
        """
        try:
            # Loaded when a control plane announces that it speaks it: the libraries are not free (docs/adr/0014).
            from lattice_agent.link.websocket import converse
        except OSError as error:  # no descriptor left to load them with
            return self._noted(path, UnreachableError(f"WebSocket: {error.strerror}", reason=Reason.CONNECT))

        async def noted_talk(socket: "WebSocket") -> None:
            self._health.note(path, _OPEN, trio.current_time())
            await talk(socket)

        try:
            instead = await converse(self._plane, path, noted_talk)
        except LinkError as error:
            return self._noted(path, error)
        if instead is None:
            return Reply(_OPEN, None)
        verdict = classify(instead)
        if verdict.kind is Kind.OK:
            verdict = Verdict(Kind.REFUSED, f"{verdict.text} instead of a WebSocket", _HINT)
        self._health.note(path, verdict, trio.current_time())
        return Reply(verdict, instead)

    def _noted(self, path: str, outcome: Answer | LinkError) -> Reply:
        verdict = classify(outcome)
        self._health.note(path, verdict, trio.current_time())
        never_sent = isinstance(outcome, UnreachableError) and outcome.reason in _BEFORE_THE_REQUEST
        return Reply(verdict, None if isinstance(outcome, LinkError) else outcome, never_sent)
