"""What the serving program does by itself: targets end though no node ever polls."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from server_stub import sweep
from server_stub.bootstrap import create_operator_token
from server_stub.store.sqlite import SqliteStore
from tests.rigs.control_streams import listening
from tests.rigs.server_app import control_plane
from tests.rigs.server_process import serving, started


@pytest.mark.long
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


async def test_a_fault_in_one_watch_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(sweep, "fire_all_expiry_alerts", None)
    async with control_plane() as world, trio.open_nursery() as nursery:
        nursery.start_soon(sweep.tend, world.app.state.plane)
        node = await world.node("n1")
        await trio.sleep(10)
        with listening(world, node) as stream:
            (await world.operator.post("/api/v1/nodes/n1/disable", {"disabled": True})).raise_for_status()
            await trio.sleep(3)
            assert stream.closed_with is not None
        assert caplog.text.count("sweep_hourly failed") == 1
        await trio.sleep(60)
        assert caplog.text.count("sweep_hourly failed") == 2
        nursery.cancel_scope.cancel()
