"""The real control plane, life after life on one database file: ``server_stub`` under trio, without sockets."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
from starlette.applications import Starlette

from server_stub.actions.registry import add_operator
from server_stub.app import build_app
from server_stub.config import Settings
from server_stub.store.sqlite import SqliteStore
from server_stub.sweep import tend
from tests.rigs.lease_loop import CrashedError
from tests.rigs.server_app import SOURCE, Message
from tests.sim.party import NETWORK, PARTY, Party, WallClock
from tests.sim.scenario import Trigger
from tests.sim.stream import Call, serve_call
from tests.sim.trace import Trace
from tests.sim.watch import Watch
from tests.sim.wire import Back, Letter

OPERATOR_TOKEN = "lop_" + "o" * 43
_TRIGGERS = {"/api/agent/task-result": Trigger.SENT, "/api/agent/task-results": Trigger.SENT}
RETRY_S = 3.0


class _Reply:
    """What whoever has sent a letter waits for."""

    def __init__(self) -> None:
        self.ready = trio.Event()
        self.back: Back | None = None

    def give(self, back: Back | None) -> None:
        self.back = back
        self.ready.set()


async def called(app: Starlette, letter: Letter) -> Back:
    """A request through the application, as an ASGI server would hand it over whole."""
    scope: Message = {
        "type": "http",
        "http_version": "1.1",
        "method": letter.method,
        "path": letter.path,
        "raw_path": letter.path.encode(),
        "root_path": "",
        "query_string": letter.query.encode(),
        "headers": list(letter.headers),
        "client": (SOURCE, 40_000),
        "server": ("control", 80),
        "scheme": "http",
    }
    sent: list[Message] = []
    parts = [{"type": "http.request", "body": letter.body}]

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Back(sent[0]["status"], headers, b"".join(part["body"] for part in sent[1:]))


class _Life:
    """One process of it."""

    def __init__(self, path: Path, wall: WallClock) -> None:
        self.party = Party("control", wall)
        self.store = SqliteStore(str(path))
        self.app = build_app(self.store, wall, Settings(db_path=str(path)), self.party.call)
        self.waiting: dict[_Reply, None] = {}
        self.nursery: trio.Nursery | None = None

    async def live(self) -> None:
        """Until it dies."""
        PARTY.set(self.party)
        try:
            with self.party.scope:
                async with trio.open_nursery() as self.nursery:
                    await tend(self.app.state.plane)
        except* CrashedError:
            assert not self.party.alive, "only who has died meets this"
        finally:
            PARTY.set(NETWORK)
            self.nursery = None
            self.store.close()
            for reply in self.waiting:
                reply.give(None)

    async def handle(self, letter: Letter, reply: _Reply) -> None:
        PARTY.set(self.party)
        if letter.path in _TRIGGERS:
            self.party.happened(_TRIGGERS[letter.path])
        back = await called(self.app, letter)
        self.party.stop_if_dead()
        del self.waiting[reply]
        reply.give(back)
        if back.status == 200 and letter.path == "/api/agent/tasks" and back.body != b"[]":
            self.party.happened(Trigger.LEASED)

    async def handle_call(self, call: Call) -> None:
        PARTY.set(self.party)
        try:
            await serve_call(self.app, call)
        except (trio.BrokenResourceError, trio.ClosedResourceError, RuntimeError):
            self.party.stop_if_dead()  # the stream was cut while it was being answered


class Control:
    """Through all of its lives."""

    def __init__(self, path: Path, wall: WallClock, trace: Trace, watch: Watch) -> None:
        self._path = path
        self._wall = wall
        self._trace = trace
        self._watch = watch
        self.life: _Life | None = None
        self.down_s = 0.0
        store = SqliteStore(str(path))
        store.write(lambda tables: add_operator(tables, "bootstrap", "admin", OPERATOR_TOKEN, wall.now(), 10))
        store.close()

    @property
    def party(self) -> Party | None:
        """Of the life that there is."""
        return None if self.life is None else self.life.party

    @property
    def is_up(self) -> bool:
        """Whether there is a life whose store can be looked at."""
        return self.life is not None and self.life.nursery is not None

    async def live_for_ever(self) -> None:
        """One life after the other."""
        while True:
            life = _Life(self._path, self._wall)
            self.life = life
            self._trace.note("control", "UP")
            self._watch.up("control")
            try:
                await life.live()
            finally:
                self.life = None
            self._watch.down("control")
            self._trace.note("control", f"DEAD, back in {self.down_s:g} s")
            await trio.sleep(self.down_s)

    async def take(self, letter: Letter) -> Back | None:
        """See ``wire.Far``."""
        life = self.life
        if life is None or life.nursery is None or not life.party.alive:
            raise ConnectionRefusedError
        reply = _Reply()
        life.waiting[reply] = None
        life.nursery.start_soon(life.handle, letter, reply)
        await reply.ready.wait()
        status = "nothing, it died" if reply.back is None else str(reply.back.status)
        if letter.method != "GET" or letter.path != "/api/agent/tasks":
            self._trace.note("control", f"#{letter.number} of {letter.node}: {status}")
        if reply.back is not None and reply.back.status >= 500:
            self._trace.violated("no fault", f"the control plane answers {reply.back.status} to {letter.path}")
        if "/task-result" in letter.path and reply.back is not None and reply.back.status == 400:
            self._trace.violated("acceptable results", f"the control plane refuses #{letter.number} of {letter.node}")
        return reply.back

    def connect(self, call: Call) -> None:
        """A control stream arrives. ``ConnectionRefusedError`` when nothing listens."""
        life = self.life
        if life is None or life.nursery is None or not life.party.alive:
            raise ConnectionRefusedError
        life.nursery.start_soon(life.handle_call, call)

    async def operate(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """An operator's order, given until it is answered; a refusal is an answer as well."""
        headers = ((b"authorization", f"Bearer {OPERATOR_TOKEN}".encode()), (b"content-type", b"application/json"))
        content = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        while True:
            with suppress(ConnectionRefusedError):
                back = await self.take(Letter("operator", method, path, query, headers, content, 0))
                if back is not None:
                    answer: dict[str, Any] = json.loads(back.body)
                    return answer
            await trio.sleep(RETRY_S)
