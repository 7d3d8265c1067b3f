"""A real v2ray core that counts real traffic: a server core, a client core beside it, and an HTTP server behind.

    with v2ray_core(place, ["alice", "bob"]) as core:
        core.traffic("alice", 100_000)
        core.truth()      # {"alice": 100_318}: up and down, as the core's own program reads it
        core.restart()    # kill -9, and a new run whose counters start at nothing

Calls block; under trio they belong into threads. A call that returns has been counted: the core adds bytes before it
passes them on. The client core stays up over restarts of the server core, and everything ends with the ``with``.
"""

import http.client
import json
import re
import socket
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.rigs.payload_server import PayloadServer, payload_server
from tests.rigs.real_processes import reserved_port, wait_until

LIMIT_S: Final = 20.0
"""Outer limit of every call."""

_CHUNK: Final = 65_536
_STAT: Final = re.compile(r'name: "user>>>(?P<user>[^"]+)>>>traffic>>>(?:up|down)link"\n\s*(?:value: (?P<value>\d+))?')


@dataclass(frozen=True)
class Kind:
    """How the server core is configured; as it is, it counts what a node needs and offers it."""

    counts_users: bool = True
    counts_lines: tuple[str, ...] = ("Inbound", "Outbound")
    keeps_statistics: bool = True
    services: tuple[str, ...] = ("StatsService",)


class CutOffError(Exception):
    """The traffic did not come through whole."""


@dataclass
class V2rayCore:
    """The server core, run by run, with its ports and users. ``log`` is of all runs."""

    place: Path
    users: tuple[str, ...]
    api_port: int
    payload: PayloadServer
    _listens_at: tuple[int, ...]
    _proxies: dict[str, int]
    _process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def address(self) -> str:
        """Where the statistics API listens."""
        return f"127.0.0.1:{self.api_port}"

    @property
    def log(self) -> str:
        return (self.place / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Begins a run; returns when its ports accept connections."""
        assert self._process is None, "the core runs already"
        self._process = _run_core(self.place, "server", self._listens_at)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT_S)
            self._process = None

    def restart(self) -> None:
        """SIGKILL and a new run."""
        self.kill()
        self.start()

    def traffic(self, user: str, size: int) -> None:
        """Downloads ``size`` bytes as that user; ``CutOffError`` if it does not get them all."""
        connection = http.client.HTTPConnection("127.0.0.1", self._proxies[user], timeout=LIMIT_S)
        try:
            connection.request("GET", f"{self.payload.url}/{size}", headers={"Connection": "close"})
            answer = connection.getresponse()
            got = 0
            while part := answer.read(_CHUNK):
                got += len(part)
        except (OSError, http.client.HTTPException) as error:
            raise CutOffError(f"{user}: {error!r}") from None
        finally:
            connection.close()
        if (answer.status, got) != (200, size):
            raise CutOffError(f"{user}: {got} of {size} bytes, status {answer.status}")

    def truth(self) -> dict[str, int]:
        """Bytes up and down of each user in this run, by v2ray's own program, with reset=false."""
        return self._query("false")

    def reset_by_another(self) -> dict[str, int]:
        """What a second reader does that resets: the counters as they were, which are 0 now."""
        return self._query("true")

    def settled_truth(self) -> dict[str, int]:
        """``truth`` once it stands still: what was sent before the traffic stopped may still be on its way."""
        seen = self.truth()
        while seen != (again := self.truth()):
            seen = again
        return seen

    def _query(self, reset: str) -> dict[str, int]:
        words = ["v2ctl", "api", f"--server={self.address}", "StatsService.QueryStats"]
        done = subprocess.run(
            [*words, f'pattern: "user>>>" reset: {reset}'], capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        sums: dict[str, int] = {}
        for match in _STAT.finditer(done.stdout):
            sums[match["user"]] = sums.get(match["user"], 0) + int(match["value"] or 0)
        return sums


@contextmanager
def v2ray_core(place: Path, users: Sequence[str], kind: Kind = Kind()) -> Iterator[V2rayCore]:
    """A started core with these users (labels of any form), in the folder ``place``."""
    place.mkdir(exist_ok=True)
    with ExitStack() as stack:
        api, server, *proxies = (stack.enter_context(reserved_port()) for _ in range(len(users) + 2))
        by_user = dict(zip(users, proxies, strict=True))
        _write(place / "server.json", _server(kind, api, server, users))
        _write(place / "client.json", _client(server, by_user))
        core = V2rayCore(place, tuple(users), api, stack.enter_context(payload_server()), (api, server), by_user)
        client = _run_core(place, "client", proxies)
        stack.callback(client.wait, LIMIT_S)
        stack.callback(client.kill)
        stack.callback(core.kill)
        core.start()
        yield core


def _run_core(place: Path, name: str, ports: Sequence[int]) -> "subprocess.Popen[bytes]":
    with (place / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(["v2ray", "-config", str(place / f"{name}.json")], stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or all(map(_accepts, ports)), f"the {name} core")
        assert process.poll() is None, (place / f"{name}.log").read_text(errors="replace")
    except BaseException:
        process.kill()
        process.wait(LIMIT_S)
        raise
    return process


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(LIMIT_S)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1))


# --- configurations --------------------------------------------------------------------------------------------------


def _server(kind: Kind, api: int, port: int, users: Sequence[str]) -> dict[str, Any]:
    lines = {f"stats{line}{way}": True for line in kind.counts_lines for way in ("Uplink", "Downlink")}
    level = {f"statsUser{way}": kind.counts_users for way in ("Uplink", "Downlink")}
    clients = [{"id": _id(user), "alterId": 0, "level": 0, "email": user} for user in users]
    return {
        "log": {"loglevel": "warning"},
        "api": {"tag": "control", "services": list(kind.services)},
        **({"stats": {}} if kind.keeps_statistics else {}),
        "policy": {"levels": {"0": level}, "system": lines},
        "inbounds": [
            _inbound("control", api, "dokodemo-door", {"address": "127.0.0.1"}),
            _inbound("users", port, "vmess", {"clients": clients}),
        ],
        "outbounds": [{"tag": "direct", "protocol": "freedom"}],
        "routing": {"rules": [_rule("control", "control")]},
    }


def _client(server: int, proxies: dict[str, int]) -> dict[str, Any]:
    return {
        "log": {"loglevel": "warning"},
        "inbounds": [_inbound(user, port, "http", {}) for user, port in proxies.items()],
        "outbounds": [
            {
                "tag": user,
                "protocol": "vmess",
                "settings": {
                    "vnext": [{"address": "127.0.0.1", "port": server, "users": [{"id": _id(user), "alterId": 0}]}]
                },
            }
            for user in proxies
        ],
        "routing": {"rules": [_rule(user, user) for user in proxies]},
    }


def _inbound(tag: str, port: int, protocol: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"tag": tag, "listen": "127.0.0.1", "port": port, "protocol": protocol, "settings": settings}


def _rule(inbound: str, outbound: str) -> dict[str, Any]:
    return {"type": "field", "inboundTag": [inbound], "outboundTag": outbound}


def _id(user: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, user))
