"""A real control plane in its own process, its operator's token, and agents spoken by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.rigs.server_process import Running, started
from tests.unit.server_stub_cli.rig import PROGRAM

AT = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T03:04:06.5Z"


@dataclass(frozen=True)
class Plane:
    """A server started by ``lattice-control serve``, and the token that it wrote for its first operator."""

    running: Running
    token: str

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def environment(self) -> dict[str, str]:
        return {"LATTICE_CONTROL_SERVER": self.url, "LATTICE_CONTROL_TOKEN": self.token}


@contextmanager
def plane(folder: Path, *options: str, listen: str = "127.0.0.1:0") -> Iterator[Plane]:
    token_file = folder / "operator.token"
    files = ("--db", str(folder / "control.db"), "--init-token-file", str(token_file))
    with started([*PROGRAM, "serve", *files, "--listen", listen, *options]) as running:
        yield Plane(running, token_file.read_text().strip())


@dataclass(frozen=True)
class Agent:
    """The requests of one node, made by hand."""

    url: str
    node: str
    token: str

    def hello(self) -> httpx.Response:
        return self._post("hello", {"version": "9.9", "host_facts": {"hostname": "h1", "memory_total": 2**30}})

    def poll(self) -> list[dict[str, Any]]:
        leased: list[dict[str, Any]] = self._get("tasks").raise_for_status().json()
        return leased

    def report(self, task: dict[str, Any], **fields: object) -> httpx.Response:
        result = {"task_id": task["id"], "lease_id": task["lease_id"], "node_id": self.node, "exit_code": 0}
        result |= {"stdout": "", "stderr": "", "error": "", "started_at": AT, "finished_at": LATER}
        return self._post("task-result", {"result": result | fields}).raise_for_status()

    def usage(self, user_bytes: dict[str, int], **fields: object) -> httpx.Response:
        snapshot = {"at": AT, "core_uptime_sec": 10, "user_bytes": user_bytes, "collector_source": "file"}
        return self._post("proxy-usage", {"snapshot": snapshot | {"collector_status": "ok"} | fields})

    def ledger(self, totals: dict[str, int], seq: int, **fields: object) -> httpx.Response:
        ledger = {"id": "0123456789abcdef" * 2, "seq": seq, "totals": totals}
        return self._post("usage-ledger", {"at": AT, "ledger": ledger, "collector_source": "file"} | fields)

    def _get(self, what: str) -> httpx.Response:
        return httpx.get(
            f"{self.url}/api/agent/{what}", params={"node_id": self.node}, headers=self._headers, trust_env=False
        )

    def _post(self, what: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(
            f"{self.url}/api/agent/{what}", json={"node_id": self.node} | body, headers=self._headers, trust_env=False
        )

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}
