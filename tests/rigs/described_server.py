"""A control plane in a process of its own whose rate limits don't hide it, and schemathesis run against it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.rigs.server_process import ROOT, Running, serving, started

NODE = "node-1"
ROOMY = {"node_rate": 1e9, "node_burst": 10**9, "address_rate": 1e9, "address_burst": 10**9}
OUTER_SECONDS = 600


@dataclass(frozen=True)
class Described:
    """The server, the tokens of an operator and of a node, and the description that it serves."""

    server: Running
    operator: str
    node: str
    description: dict[str, Any]

    def client(self, token: str) -> httpx.Client:
        return self.server.client(token)


@contextmanager
def described_server(place: Path) -> Iterator[Described]:
    """With one node whose usage is counted, a second operator, a user with bytes, and a task
    with its result."""
    token_file = place / "token"
    settings = {"db_path": str(place / "control.db"), "init_token_file": str(token_file), "limits": ROOMY}
    with started(serving(**settings)) as server:
        operator = token_file.read_text().strip()
        with server.client(operator) as client:
            node = client.post("/api/v1/nodes", json={"id": NODE}).raise_for_status().json()["token"]
            client.put(f"/api/v1/nodes/{NODE}/profile", json={}).raise_for_status()
            client.post("/api/v1/users", json={"id": "user-1"}).raise_for_status()
            client.post("/api/v1/tasks", json={"node": NODE, "script": "true"}).raise_for_status()
            client.post("/api/v1/operators", json={"name": "second"}).raise_for_status()
            description = client.get("/api/v1/openapi.json").raise_for_status().json()
        with server.client(node) as client:
            _live(client)
        yield Described(server, operator, node, description)


def _live(client: httpx.Client) -> None:
    """What an agent says in its life, so that every answer has something in it."""
    of_node = {"node_id": NODE}
    beat = {"metrics": {"cpu_percent": 1.5}, "host_facts": {"hostname": "h"}, "agent_runtime": {}, "policy": {}}
    ledger = {"id": "0" * 32, "seq": 1, "totals": {"user-1": 1_000}}
    lease = client.get("/api/agent/tasks", params=of_node).raise_for_status().json()[0]
    result = {
        "task_id": lease["id"],
        "lease_id": lease["lease_id"],
        "stdout": "out",
        "detail": {"outcome": "succeeded"},
    }
    for path, body in (
        ("metrics", beat),
        ("inventory", {"inventory": {"cpu": {"threads": 2}}}),
        ("usage-ledger", {"ledger": ledger}),
        ("task-result", {"result": result}),
    ):
        client.post(f"/api/agent/{path}", json=of_node | body).raise_for_status()


def closed(description: dict[str, Any]) -> dict[str, Any]:
    """The description with nothing in operators' answers beyond what it names. As it is served it leaves that open: a
    program that reads it should not fail when a field is added."""
    changed: dict[str, Any] = json.loads(json.dumps(description))
    for name, schema in changed["components"]["schemas"].items():
        if name.endswith(("Shape", "Answer")) and "properties" in schema:
            schema["additionalProperties"] = False
    return changed


def schemathesis(server: Running, description: Path, token: str, *options: str) -> subprocess.CompletedProcess[str]:
    """``st run`` with a fixed seed, however slow the machine is. Its directory is that of the description."""
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [program, "--config-file", str(description.with_name("schemathesis.toml")), "run", str(description)]
    fixed = ["--url", server.url, "-H", f"Authorization: Bearer {token}", "--seed", "13", "--no-color"]
    return subprocess.run(
        [*command, *fixed, "--generation-database", "none", "--suppress-health-check", "all", *options],
        cwd=description.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.rigs.whole_numbers"},
        capture_output=True,
        text=True,
        timeout=OUTER_SECONDS,
        check=False,
    )


def tagged(description: dict[str, Any], tag: str) -> dict[str, Any]:
    """The description with the operations of one tag only."""
    paths = {
        path: {name: one for name, one in item.items() if name == "parameters" or tag in one["tags"]}
        for path, item in description["paths"].items()
    }
    return description | {"paths": {path: item for path, item in paths.items() if set(item) - {"parameters"}}}


def without_waiting(description: dict[str, Any]) -> dict[str, Any]:
    """The description with every ``wait_s`` being 0: a task that no agent runs is waited for in vain."""
    changed: dict[str, Any] = json.loads(json.dumps(description))
    for parameter in changed["paths"]["/api/v1/tasks/{task_id}"]["get"]["parameters"]:
        if parameter["name"] == "wait_s":
            parameter["schema"] = {"const": 0}
    return changed


def of_node(description: dict[str, Any], node_id: str) -> dict[str, Any]:
    """The description with this ``node_id`` in every request: any other is 401, and nothing more is seen."""
    text = json.dumps(description)
    changed: dict[str, Any] = json.loads(text)
    for item in changed["paths"].values():
        for one in item.values():
            for parameter in one["parameters"] if isinstance(one, dict) and "parameters" in one else ():
                if parameter["name"] == "node_id":
                    parameter["schema"] = {"const": node_id}
            body = one.get("requestBody", {}) if isinstance(one, dict) else {}
            for media in body.get("content", {}).values():
                name = media["schema"]["$ref"].rpartition("/")[2]
                model = changed["components"]["schemas"][name]
                model["properties"]["node_id"] = {"const": node_id}
                model["required"] = ["node_id"]
    return changed
