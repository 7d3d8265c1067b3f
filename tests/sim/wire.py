"""The way between one node and the control plane: a transport under the agent's real HTTP client.

Requests are carried by tasks of the network, so that what is under way goes on when its sender has given up or died.
Time limits of a phase are kept here as a real transport keeps them; the deadline of an exchange is the client's own.
"""

import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import trio

from tests.sim.fate import Fate, Seen, draw_fate
from tests.sim.party import NETWORK, PARTY
from tests.sim.scenario import NodePlan, Trigger
from tests.sim.trace import Trace
from tests.sim.watch import Watch

POLL = "/api/agent/tasks"
CONNECTIONS_LIMIT = 9
"""Of the agent's client (``link.client``)."""
_SPOILT = b"<html><body>It works!</body></html>"
_ENVELOPE = {"error": {"code": "trouble", "message": "something in between", "request_id": ""}}


@dataclass(frozen=True)
class Letter:
    """A request as it is carried."""

    node: str
    method: str
    path: str
    query: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    number: int


@dataclass(frozen=True)
class Back:
    """An answer as it is carried."""

    status: int
    headers: dict[str, str]
    body: bytes


class Far(Protocol):
    """The other end."""

    async def take(self, letter: Letter) -> Back | None:
        """The answer; None when the connection was lost. ``ConnectionRefusedError`` when nothing listens."""
        ...


class _Box:
    """What the client waits for."""

    def __init__(self) -> None:
        self.filled = trio.Event()
        self.seen = Seen.SILENCE
        self.back: Back | None = None

    def fill(self, seen: Seen, back: Back | None = None) -> None:
        """The first counts: of a doubled request the client gets one answer."""
        if not self.filled.is_set():
            self.seen, self.back = seen, back
            self.filled.set()


class _Body(httpx.AsyncByteStream):
    """All of it; or half of it, and then the connection is lost."""

    def __init__(self, body: bytes, is_cut: bool) -> None:
        self._body = body
        self._is_cut = is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield self._body[: len(self._body) // 2] if self._is_cut else self._body
        if self._is_cut:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class Wire(httpx.AsyncBaseTransport):
    """Of one node, through all lives of its agent."""

    def __init__(
        self, node: str, plan: NodePlan, far: Far, nursery: trio.Nursery, trace: Trace, watch: Watch, seed: int
    ) -> None:
        self.node = node
        self._plan = plan
        self._far = far
        self._nursery = nursery
        self._trace = trace
        self._watch = watch
        self._rng = random.Random(f"{seed} wire of {node}")
        self._number = 0
        self._open = 0
        self.on_usage: Callable[[], None] = lambda: None
        """A usage report was taken."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        party = PARTY.get()
        party.stop_if_dead()
        letter = await self._letter(request)
        fate = draw_fate(self._rng, self._plan.troubles, letter.path, trio.current_time())
        self._trace.note(self.node, f"#{letter.number} {letter.method} {letter.path} {_told(letter)}: {fate}")
        self._watch.asked(self.node, letter.path, letter.body)
        if "/task-result" in letter.path:
            party.happened(Trigger.SENT)
        self._open += 1
        if self._open > CONNECTIONS_LIMIT:
            self._trace.violated(
                "bounds", f"{self.node} has {self._open} requests open, its client {CONNECTIONS_LIMIT}"
            )
        box = _Box()
        self._nursery.start_soon(self._carry, letter, fate, box)
        try:
            with trio.move_on_after(request.extensions["timeout"]["read"]):
                await box.filled.wait()
        finally:
            self._open -= 1
        party.stop_if_dead()
        return self._seen(letter, fate, box)

    async def _letter(self, request: httpx.Request) -> Letter:
        self._number += 1
        url = request.url
        headers = tuple((name.lower(), value) for name, value in request.headers.raw)
        return Letter(
            self.node, request.method, url.path, url.query.decode(), headers, await request.aread(), self._number
        )

    def _seen(self, letter: Letter, fate: Fate, box: _Box) -> httpx.Response:
        seen = box.seen
        if seen is Seen.ANSWER and box.back is not None and box.back.status == 200 and letter.path == POLL:
            self._note_leases(letter, box.back)
        else:
            self._trace.note(self.node, f"#{letter.number} sees {seen} {box.back.status if box.back else ''}".rstrip())
        status = None if box.back is None or seen is Seen.CUT else box.back.status
        self._watch.answered(self.node, letter.path, status, _wish(box.back))
        if status == 200 and "/task-result" in letter.path:
            self._watch.acknowledged(self.node, _acknowledged(letter, box.back, seen))
        match seen:
            case Seen.SILENCE:
                raise httpx.ReadTimeout("silence")
            case Seen.RESET:
                raise httpx.ReadError("connection reset by peer")
            case Seen.REFUSED:
                raise httpx.ConnectError("connection refused")
        assert box.back is not None
        body = _SPOILT if seen is Seen.SPOILT else box.back.body
        return httpx.Response(box.back.status, headers=box.back.headers, stream=_Body(body, seen is Seen.CUT))

    def _note_leases(self, letter: Letter, back: Back) -> None:
        handed = json.loads(back.body)
        for one in handed:
            self._watch.leased(self.node, one["id"], one["lease_id"])
        if handed:
            PARTY.get().happened(Trigger.LEASED)
        leases = ", ".join(f"{one['id']} under {one['lease_id'][-6:]}" for one in handed)
        self._trace.note(self.node, f"#{letter.number} is handed {leases or 'nothing'}")

    async def _carry(self, letter: Letter, fate: Fate, box: _Box) -> None:
        PARTY.set(NETWORK)
        if fate.is_late or fate.arrives_s is None:
            self._nursery.start_soon(self._fill_later, fate, box)
        if fate.arrives_s is None:
            return
        await trio.sleep(fate.arrives_s)
        if fate.again_s is not None:
            self._nursery.start_soon(self._deliver_again, letter, fate.again_s)
        try:
            back = await self._far.take(letter)
        except ConnectionRefusedError:
            box.fill(Seen.REFUSED)
            return
        if letter.path == "/api/agent/metrics" and back is not None and back.status == 200:
            self._watch.beat(self.node)
        if "usage" in letter.path and back is not None and back.status == 200:
            self.on_usage()
        await trio.sleep(fate.returns_s)
        if fate.seen is not Seen.SILENCE:
            box.fill(Seen.RESET if back is None else fate.seen, back)

    async def _fill_later(self, fate: Fate, box: _Box) -> None:
        PARTY.set(NETWORK)
        await trio.sleep(fate.returns_s)
        if fate.seen is Seen.STATUS:
            headers = {"retry-after": fate.retry_after} if fate.retry_after else {}
            box.fill(fate.seen, Back(fate.status, headers, json.dumps(_ENVELOPE).encode()))
        elif fate.seen is not Seen.SILENCE:
            box.fill(fate.seen)

    async def _deliver_again(self, letter: Letter, after_s: float) -> None:
        PARTY.set(NETWORK)
        await trio.sleep(after_s)
        self._trace.note("network", f"#{letter.number} of {letter.node} arrives once more")
        try:
            await self._far.take(letter)
        except ConnectionRefusedError:
            return


def _told(letter: Letter) -> str:
    if "/task-result" not in letter.path:
        return letter.query.replace(f"node_id={letter.node}", "").lstrip("&") if letter.method == "GET" else ""
    results = results_in(letter.body)
    return ", ".join(f"{one['task_id']} under {one['lease_id'][-6:]}" for one in results)


def results_in(body: bytes) -> list[dict[str, Any]]:
    """The results in a request that reports some."""
    told = json.loads(body)
    found: list[dict[str, Any]] = told["results"] if "results" in told else [told["result"]]
    return found


def _acknowledged(letter: Letter, back: Back | None, seen: Seen) -> list[str]:
    """Ids of the tasks whose results the answer says are stored."""
    if not letter.path.endswith("/task-results"):
        return [str(one["task_id"]) for one in results_in(letter.body)]
    if back is None or seen is Seen.SPOILT:
        return []
    return [str(one["task_id"]) for one in json.loads(back.body)["results"] if one["status"] == 200]


def _wish(back: Back | None) -> float:
    """What the server asked for (``Retry-After`` in seconds)."""
    return float(back.headers.get("retry-after", 0)) if back is not None else 0.0
