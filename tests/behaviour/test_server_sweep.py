"""What the serving program does by itself: targets end though no node ever polls."""

from pathlib import Path

from server_stub.bootstrap import create_operator_token
from server_stub.store.sqlite import SqliteStore
from tests.rigs.server_process import serving, started


def test_a_task_for_a_node_that_is_away_times_out_in_the_queue(tmp_path: Path) -> None:
    db_path = str(tmp_path / "control.db")
    store = SqliteStore(db_path)
    operator_token = create_operator_token(store, "op")
    store.close()
    with started(serving(db_path=db_path)) as server, server.client(operator_token) as operator:
        for name in ("away", "gone"):
            operator.post("/api/v1/nodes", json={"id": name, "tags": ["web"]}).raise_for_status()
        order = {"tags": ["web"], "script": "true", "queue_timeout_sec": 1, "concurrency": 1}
        task_id = operator.post("/api/v1/tasks", json=order).raise_for_status().json()["task"]["id"]
        answer = operator.get(f"/api/v1/tasks/{task_id}", params={"wait_s": "30"}, timeout=40)
    task = answer.raise_for_status().json()["task"]
    assert (task["status"], task["outcomes"]) == ("failed", {"timed_out": 2})
    assert task["reason"] == "node away: timed out: queued clock, 1 s; it was never handed out"
