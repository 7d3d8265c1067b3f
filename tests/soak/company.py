"""Who else is there while tasks run: viewers of live output, readers of pages, an operator who changes things, and a
proxy core whose users have traffic."""

import random
import ssl
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import h11
import httpx
import trio

from tests.rigs.dashboard import Browser, log_in
from tests.rigs.live_plane import Answered, Reader
from tests.rigs.scripted_core import Call, stats_message, uptime_message
from tests.soak.load import Load
from tests.soak.operators import AGAIN_S, AwayError, Operators, Refused

PASSWORD: Final = "correct horse battery"
USERS: Final = ("ann", "bob", "eve")
VIEWERS: Final = 5
PAGES: Final = ("/nodes", "/tasks", "/usage", "/audit", "/nodes/{node}", "/tasks/{task}", "/tasks/new")
QUESTIONS: Final = ("nodes", "tasks", "usage", "audit", "users", "nodes/{node}/metrics", "nodes/{node}/inventory")
_HUNG_UP = (
    OSError,
    Answered,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    h11.RemoteProtocolError,
    ssl.SSLError,
)


class Company:
    """Each of its members runs for ever. ``seen`` counts what they did."""

    def __init__(self, operators: Operators, load: Load, nodes: Sequence[str], port: int) -> None:
        self._operators, self._load, self._nodes, self._port = operators, load, nodes, port
        self.seen: Counter[str] = Counter()

    async def view(self, chance: random.Random) -> None:
        """Looks at scripts that run: some to the end, some for a moment, some reading slowly."""
        while True:
            await trio.sleep(chance.uniform(0.1, 2.0))
            if not self._load.watched:
                continue
            task_id, node = chance.choice(self._load.watched)
            what = chance.choice(("output", "output", "events"))
            patience_s, pause_s = chance.choice((0.3, 2.0, 60.0)), chance.choice((0.0, 0.0, 0.5))
            try:
                with suppress(*_HUNG_UP), trio.move_on_after(patience_s):
                    await self._follow(f"/api/v1/tasks/{task_id}/{what}?node={node}" if what == "output" else
                                       f"/api/v1/tasks/{task_id}/{what}", pause_s)  # fmt: skip
            except AssertionError:
                self._load.fault(f"{task_id}: a viewer was shown output with a gap")

    async def _follow(self, target: str, pause_s: float) -> None:
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", self._port, ssl_context=self._operators.context, https_compatible=True
        )
        async with stream:
            reader = Reader(stream, h11.Connection(h11.CLIENT))  # type: ignore[arg-type]
            await reader.begin(target, self._operators.headers)
            self.seen["event streams"] += 1
            while await reader.event(patience_s=60.0) is not None:
                self.seen["events"] += 1
                await trio.sleep(pause_s)

    async def read_pages(self, chance: random.Random, name: str) -> None:
        """Signs in again whenever it must."""
        url = f"https://127.0.0.1:{self._port}"
        async with httpx.AsyncClient(base_url=url, verify=self._operators.context, trust_env=False) as client:
            someone = Browser(client)
            while True:
                await trio.sleep(chance.uniform(0.5, 2.0))
                with suppress(httpx.TransportError):
                    await self._read_page(someone, chance, name)

    async def _read_page(self, someone: Browser, chance: random.Random, name: str) -> None:
        path = chance.choice(PAGES).format(node=chance.choice(self._nodes), task=self._some_task(chance))
        answer = await someone.get(path)
        if answer.status_code == 303:
            await log_in(someone, name, PASSWORD)
            self.seen["sign-ins"] += 1
        elif answer.status_code == 200:
            self.seen["pages"] += 1
        elif answer.status_code != 404:
            self._load.fault(f"page {path}: {answer.status_code}")

    async def ask(self, chance: random.Random) -> None:
        """Lists and records, as programs of operators read them."""
        while True:
            await trio.sleep(chance.uniform(0.3, 1.5))
            path = chance.choice(QUESTIONS).format(node=chance.choice(self._nodes))
            with suppress(AwayError):
                await self._operators.ask("GET", path)
                self.seen["queries"] += 1

    async def change(self, chance: random.Random) -> None:
        """What nodes are told and tell: addresses, tags, a drain that is taken back."""
        while True:
            await trio.sleep(chance.uniform(4, 12))
            node = chance.choice(self._nodes)
            address = f"192.0.2.{chance.randrange(1, 255)}"
            with suppress(AwayError, Refused):
                match chance.choice(("address", "tags", "drain")):
                    case "address":
                        config = {"mode": "static", "static_ipv4": address}
                        await self._operators.ask("PUT", f"nodes/{node}/config", {"ip_config": config})
                    case "tags":
                        await self._operators.ask("POST", f"nodes/{node}/tags", {"tags": [f"t{chance.randrange(9)}"]})
                    case "drain":
                        await self._operators.ask("POST", f"nodes/{node}/drain", {"draining": True})
                        await trio.sleep(chance.uniform(0.5, 3))
                        await self._operators.surely("POST", f"nodes/{node}/drain", {"draining": False})
                self.seen["changes"] += 1

    def _some_task(self, chance: random.Random) -> str:
        return chance.choice(self._load.watched)[0] if self._load.watched else "none"


class Core:
    """A proxy core of which all nodes read the counters; it lives as long as the soak, so not a byte may be missing."""

    def __init__(self) -> None:
        self.truth = dict.fromkeys(USERS, 0)
        self._began = trio.current_time()

    async def answer(self, call: Call) -> None:
        """The script of ``listening_core``."""
        if call.path.endswith("/GetSysStats"):
            await call.answer(uptime_message(1 + int(trio.current_time() - self._began)))
            return
        halves = {"uplink": 0, "downlink": 1}
        stats = {
            f"user>>>{user}>>>traffic>>>{way}": (count + half) // 2
            for user, count in self.truth.items()
            for way, half in halves.items()
        }
        await call.answer(stats_message(stats))

    async def run(self, chance: random.Random) -> None:
        """Traffic for ever."""
        while True:
            await trio.sleep(chance.uniform(0.05, 0.5))
            self.truth[chance.choice(USERS)] += chance.randrange(1, 3_000_000)


async def wait_billed(operators: Operators, nodes: Sequence[str], truth: dict[str, int]) -> dict[str, Any]:
    """Until every node has told the truth, or for ever; what is billed."""
    while True:
        users = (await operators.surely("GET", "usage"))["users"]
        billed = {user["id"]: user["per_node"] for user in users}
        if all(billed[user].get(node, 0) == count for user, count in truth.items() for node in nodes):
            return billed
        await trio.sleep(AGAIN_S)
