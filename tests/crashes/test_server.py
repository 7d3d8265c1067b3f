"""The server is killed while it takes a result; whoever sends it again finds one consistent state."""

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from server_stub.bootstrap import create_operator_token
from server_stub.store.sqlite import SqliteStore
from tests.crashes.hook import Fuse
from tests.rigs.server_process import Running, crashing, serving, started

pytestmark = pytest.mark.slow

BEFORE_COMMIT = "a result is taken, not committed"
AFTER_COMMIT = "a result is committed, not answered"
HALF_ANSWER = "half of the answer to a result is out"


def node_with_leases(server: Running, operator_token: str, count: int) -> tuple[str, list[dict[str, Any]]]:
    """A node's token and so many leased tasks."""
    with server.client(operator_token) as operator:
        token = operator.post("/api/v1/nodes", json={"id": "n1"}).raise_for_status().json()["token"]
        for _ in range(count):
            operator.post("/api/v1/tasks", json={"node": "n1", "script": "true"}).raise_for_status()
    with server.client(token) as node:
        leases = node.get("/api/agent/tasks", params={"node_id": "n1", "max": "16"}).raise_for_status().json()
    assert len(leases) == count
    return token, leases


def result(lease: dict[str, Any]) -> dict[str, Any]:
    return {"task_id": lease["id"], "lease_id": lease["lease_id"], "exit_code": 0, "stdout": "kept\n"}


def states(server: Running, operator_token: str) -> list[tuple[str, list[str]]]:
    """Status and stored outputs of every task."""
    with server.client(operator_token) as operator:
        tasks = operator.get("/api/v1/tasks").raise_for_status().json()["tasks"]
        shown = [operator.get(f"/api/v1/tasks/{task['id']}").json()["task"] for task in tasks]
    return [(task["status"], [r["stdout"] for r in task["results"]]) for task in shown]


@pytest.mark.parametrize(
    "point", [BEFORE_COMMIT, *(pytest.param(point, marks=pytest.mark.long) for point in (AFTER_COMMIT, HALF_ANSWER))]
)
@pytest.mark.parametrize("batch", [pytest.param(False, marks=pytest.mark.long), True], ids=["single", "batch"])
def test_killed_while_taking_results(tmp_path: Path, point: str, batch: bool) -> None:
    db_path = tmp_path / "control.db"
    store = SqliteStore(str(db_path))
    operator_token = create_operator_token(store, "op")
    store.close()
    count = 2 if batch else 1

    fuse = Fuse(tmp_path / "fuse")
    fuse.lay(point)
    with started(crashing(db_path, fuse.path)) as doomed:
        token, leases = node_with_leases(doomed, operator_token, count)
        path = "/api/agent/task-results" if batch else "/api/agent/task-result"
        many = {"results": [result(lease) for lease in leases]}
        body = {"node_id": "n1", **(many if batch else {"result": result(leases[0])})}
        with doomed.client(token) as node, pytest.raises(httpx.TransportError):
            node.post(path, json=body)
        assert doomed.wait() == -signal.SIGKILL

    with started(serving(db_path=str(db_path))) as server:
        found = states(server, operator_token)
        assert found == [("leased", []) if point == BEFORE_COMMIT else ("finished", ["kept\n"])] * count
        with server.client(token) as node:
            for _ in range(2):
                again = node.post(path, json=body)
                assert again.status_code == 200
                assert [v["status"] for v in again.json().get("results", [])] == ([200] * count if batch else [])
            assert node.get("/api/agent/tasks", params={"node_id": "n1"}).json() == []
        assert states(server, operator_token) == [("finished", ["kept\n"])] * count


@pytest.mark.parametrize("point", [pytest.param(BEFORE_COMMIT, marks=pytest.mark.long), AFTER_COMMIT])
def test_killed_while_a_failure_stops_the_rest(tmp_path: Path, point: str) -> None:
    """The failure and what it spares are one change: a server that comes back hands nothing out, or all of it."""
    db_path = tmp_path / "control.db"
    store = SqliteStore(str(db_path))
    operator_token = create_operator_token(store, "op")
    store.close()
    fuse = Fuse(tmp_path / "fuse")
    fuse.lay(point)
    with started(crashing(db_path, fuse.path)) as doomed:
        with doomed.client(operator_token) as operator:
            tokens = [
                operator.post("/api/v1/nodes", json={"id": name}).raise_for_status().json()["token"]
                for name in ("n1", "n2")
            ]
            order = {"nodes": ["n1", "n2"], "script": "false", "max_failures": 1}
            operator.post("/api/v1/tasks", json=order).raise_for_status()
        with doomed.client(tokens[0]) as node:
            (lease,) = node.get("/api/agent/tasks", params={"node_id": "n1"}).raise_for_status().json()
            body = {"node_id": "n1", "result": result(lease) | {"exit_code": 1}}
            with pytest.raises(httpx.TransportError):
                node.post("/api/agent/task-result", json=body)
        assert doomed.wait() == -signal.SIGKILL

    stopped = point == AFTER_COMMIT
    with started(serving(db_path=str(db_path))) as server:
        with server.client(operator_token) as operator:
            (task,) = operator.get("/api/v1/tasks").raise_for_status().json()["tasks"]
        assert task["outcomes"] == ({"cancelled": 1, "failed": 1} if stopped else {"leased": 1, "queued": 1})
        with server.client(tokens[1]) as node:
            handed = node.get("/api/agent/tasks", params={"node_id": "n2"}).raise_for_status().json()
        assert len(handed) == (0 if stopped else 1)
        with server.client(tokens[0]) as node:
            assert node.post("/api/agent/task-result", json=body).status_code == 200


def test_killed_at_any_moment_keeps_every_acknowledged_result(tmp_path: Path) -> None:
    db_path = tmp_path / "control.db"
    settings = {"db_path": str(db_path), "init_token_file": str(tmp_path / "token")}
    with started(serving(**settings)) as doomed:
        operator_token = (tmp_path / "token").read_text().strip()
        token, leases = node_with_leases(doomed, operator_token, 16)
        with doomed.client(token) as node:
            for lease in leases[:9]:
                node.post("/api/agent/task-result", json={"node_id": "n1", "result": result(lease)}).raise_for_status()
            doomed.process.kill()
            doomed.wait()
    with started(serving(**settings)) as server:
        finished = [state for state in states(server, operator_token) if state == ("finished", ["kept\n"])]
        assert len(finished) == 9
