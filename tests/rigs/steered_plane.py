"""A steered control plane as a process on loopback, and the operator's side of it."""

import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from server_stub.bootstrap import create_operator_token
from server_stub.store.sqlite import SqliteStore
from tests.rigs import steered_server, steering
from tests.rigs.server_process import Running, started
from tests.rigs.steering import Steering

LIMIT_S: Final = 20.0
"""No single step of tests with real processes takes this long; one that hangs is ended here."""
LEASE_DIES_S: Final = 400.0
"""More than the 30 s of these tasks and the 300 s that the control plane allows on top."""


@dataclass(frozen=True)
class Node:
    """A registered node."""

    id: str
    token: str


class Plane:
    """The operator's side of a control plane that runs at ``url``."""

    def __init__(self, url: str, operator_token: str) -> None:
        self.url = url
        headers = {"authorization": f"Bearer {operator_token}"}
        self._api = httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=2 * LIMIT_S)

    def close(self) -> None:
        self._api.close()

    def add_node(self, node_id: str = "") -> Node:
        node_id = node_id or f"node-{secrets.token_hex(6)}"
        return Node(node_id, self._post("/api/v1/nodes", id=node_id)["token"])

    def node(self, node: Node) -> dict[str, Any]:
        """What the control plane knows of it."""
        found: dict[str, Any] = self._get(f"/api/v1/nodes/{node.id}")["node"]
        return found

    def inventory(self, node: Node) -> dict[str, Any]:
        """What the node last reported of its host; empty while it has not."""
        found: dict[str, Any] = self._get(f"/api/v1/nodes/{node.id}/inventory")["inventory"] or {}
        return found

    def create(self, node: Node, script: str, interpreter: str = "sh", **limits: int) -> str:
        """A task's id."""
        order = {"node": node.id, "interpreter": interpreter, "script": script, **limits}
        return str(self._post("/api/v1/tasks", **order)["task"]["id"])

    def task(self, task_id: str, wait_s: int = 0) -> dict[str, Any]:
        """As it is now, or after so many seconds at most, should it end before."""
        found: dict[str, Any] = self._get(f"/api/v1/tasks/{task_id}", wait_s=wait_s)["task"]
        return found

    def cancel(self, task_id: str) -> None:
        self._post(f"/api/v1/tasks/{task_id}/cancel")

    def result(self, task_id: str) -> dict[str, Any]:
        """The one result of a task, once it is there; told by the control plane, without looking again and again."""
        found = self._get(f"/api/v1/tasks/{task_id}", wait_s=int(LIMIT_S))["task"]
        assert len(found["results"]) == 1, f"the task is {found['status']} and has {len(found['results'])} results"
        result: dict[str, Any] = found["results"][0]
        return result

    def stored(self, node: Node) -> Counter[str]:
        """How often a result of each task was accepted as new."""
        events = self._get("/api/v1/audit", action="task.result", node=node.id, limit=1000)["events"]
        fresh = (event for event in events if event["decision"] == "allow" and "again" not in event["reason"])
        return Counter(event["target"] for event in fresh)

    def add_users(self, *user_ids: str) -> None:
        """Users of the proxy, on every node, without a limit."""
        for user_id in user_ids:
            self._post("/api/v1/users", id=user_id)

    def count_usage_of(self, node: Node) -> None:
        """Makes the profile without which no usage of a node is taken."""
        self._api.put(f"/api/v1/nodes/{node.id}/profile", json={}).raise_for_status()

    def usage(self) -> dict[str, Any]:
        """What everybody has used, and how the collectors of the nodes fare."""
        found: dict[str, Any] = self._get("/api/v1/usage")
        return found

    def stop_fleet(self, stop: bool) -> None:
        """The kill switch."""
        self._post("/api/v1/kill-switch", enabled=stop)

    def _get(self, path: str, **query: Any) -> Any:
        return self._api.get(path, params=query).raise_for_status().json()

    def _post(self, path: str, **order: Any) -> Any:
        return self._api.post(path, json=order).raise_for_status().json()


class SteeredPlane(Plane):
    """One whose clock and judgement a test changes."""

    def __init__(self, running: Running, operator_token: str, database: Path, steering_file: Path) -> None:
        super().__init__(running.url, operator_token)
        self.process = running.process
        self.database = database
        self.steering_file = steering_file

    def let_leases_die(self) -> None:
        """Moves the clock of the control plane, and of agents that follow it, beyond the life of every lease."""
        self.steer(ahead_s=steering.read(self.steering_file).ahead_s + LEASE_DIES_S)

    def steer(self, **changes: Any) -> None:
        """Changes single fields of ``Steering``."""
        steering.write(self.steering_file, replace(steering.read(self.steering_file), **changes))


@contextmanager
def control_plane(
    place: Path, *, wire: str = steered_server.EXTENDED, port: int = 0, fuse: Path | None = None
) -> Iterator[SteeredPlane]:
    """A steered control plane with its files in ``place``; killed at the end. With a ``fuse`` it has crash points."""
    database, file = place / "control.db", place / "steering.json"
    operator = register_operator(database)
    if not file.exists():
        steering.write(file, Steering())
    program = ["tests.rigs.steered_server"] if fuse is None else ["tests.crashes.server_program", str(fuse)]
    words = [sys.executable, "-m", *program, str(database), str(file), wire, str(port)]
    with started(words) as running, closing(SteeredPlane(running, operator, database, file)) as plane:
        yield plane


def register_operator(database: Path) -> str:
    """The token of a new operator in a database that is not served now."""
    with closing(SqliteStore(str(database))) as store:
        return create_operator_token(store, f"op-{secrets.token_hex(4)}")
