"""A small model of the unmodified server's task rules (protocol reference 2.3-2.5), written from the reference alone.

It stands in for the network as well: requests and answers can be lost, and single paths can be made to fail. Time is
trio's, so that hours pass in milliseconds. What the agent must never do is checked here, at the other end.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import Reason, UnreachableError


@dataclass
class ModelTask:
    id: str
    script: str = "echo"
    timeout_sec: int = 30
    output_limit: int = 65_536
    targets: int = 1
    """More than 1: other nodes are outstanding for ever, so the task stays leased after our result."""
    lease_id: str = ""
    leased_at: float | None = None
    leases: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    forgotten: bool = False
    """The server dropped its row of our result (only the newest 2,000 count)."""

    def leasable(self, now: float) -> bool:
        if self.results and not self.forgotten:
            return False
        limit = (self.timeout_sec if self.timeout_sec > 0 else 900) + 300
        return self.leased_at is None or now - self.leased_at > limit


class ReferenceServer:
    """Stands where ``ControlPlane`` stands: ``get`` and ``post``."""

    def __init__(self, seed: int = 1) -> None:
        self.tasks: dict[str, ModelTask] = {}
        self.rng = random.Random(seed)
        self.log: list[tuple[str, str, int]] = []
        self.poll_times: list[float] = []
        self.lose_request: Callable[[str], bool] = lambda path: False
        self.lose_answer: Callable[[str], bool] = lambda path: False
        self.lose_request_of: Callable[[str, dict[str, Any]], bool] = lambda path, body: False
        self.answer_headers: dict[str, str] = {}
        self.answer_with: Callable[[str, dict[str, Any]], tuple[int, Any] | None] = lambda path, body: None
        self.features: tuple[str, ...] = ()
        self.result_stored = trio.Event()
        self._serial = 0

    def add(self, task_id: str, **fields: Any) -> ModelTask:
        task = self.tasks[task_id] = ModelTask(task_id, **fields)
        return task

    async def get(self, path: str, params: Mapping[str, str] | None = None, **_: Any) -> Answer:
        self.poll_times.append(trio.current_time())
        return await self._exchange(path, dict(params or {}), lambda: (200, self._poll(dict(params or {}))))

    async def post(self, path: str, body: bytes, **_: Any) -> Answer:
        data = json.loads(body)
        return await self._exchange(path, data, lambda: self._route(path, data, len(body)))

    async def _exchange(self, path: str, data: dict[str, Any], serve: Callable[[], tuple[int, Any]]) -> Answer:
        await trio.sleep(0.01)
        if self.lose_request(path) or self.lose_request_of(path, data):
            raise UnreachableError(f"{path}: request lost", reason=Reason.LOST)
        forced = self.answer_with(path, data)
        status, body = forced if forced is not None else serve()
        self.log.append((path, json.dumps(data), status))
        await trio.sleep(0.01)
        if self.lose_answer(path):
            raise UnreachableError(f"{path}: answer lost", reason=Reason.LOST)
        return Answer(status, self.answer_headers, json.dumps(body).encode())

    def _poll(self, params: dict[str, str]) -> list[dict[str, Any]]:
        now = trio.current_time()
        candidates = [task for task in self.tasks.values() if task.leasable(now)]
        self.rng.shuffle(candidates)
        return [self._lease(task, now) for task in candidates[: int(params.get("max", "3"))]]

    def _lease(self, task: ModelTask, now: float) -> dict[str, Any]:
        self._serial += 1
        task.lease_id = f"lease_{self._serial:032}"
        task.leased_at = now
        task.leases += 1
        return {
            "id": task.id,
            "lease_id": task.lease_id,
            "interpreter": "sh",
            "script": task.script,
            "timeout_sec": task.timeout_sec,
            "output_limit": task.output_limit,
        }

    def _route(self, path: str, data: dict[str, Any], size: int) -> tuple[int, Any]:
        if path == "/api/agent/task-result":
            return self._result(data["result"], size)
        if path == "/api/agent/task-results":
            verdicts = []
            for result in data["results"]:
                status, body = self._result(result, len(json.dumps(result)))
                message = body.get("error", {}).get("message", "")
                verdicts.append({"task_id": result["task_id"], "status": status, "message": message})
            return 200, {"ok": True, "results": verdicts}
        return 200, {"ok": True}

    def _result(self, result: dict[str, Any], size: int) -> tuple[int, Any]:
        task = self.tasks.get(result["task_id"])
        if size > 1_048_576:
            return error(400, "bad_request", "invalid request body")
        ended = task is not None and task.results and task.targets == 1
        if task is None or ended or not result["lease_id"] or result["lease_id"] != task.lease_id:
            return error(403, "invalid_task_lease", "invalid task lease")
        for name in ("stdout", "stderr", "error"):
            if len(result[name].encode()) > task.output_limit:
                return error(400, "task_output_limit_exceeded", f"{name} exceeds task output limit")
        task.results.append(result)
        task.forgotten = False
        self.result_stored.set()
        self.result_stored = trio.Event()
        return 200, {"ok": True}

    async def wait_results(self, count: int) -> None:
        """Until so many tasks have a result."""
        while sum(bool(task.results) for task in self.tasks.values()) < count:
            await self.result_stored.wait()


def error(status: int, code: str, message: str) -> tuple[int, Any]:
    return status, {"error": {"code": code, "message": message, "request_id": "req_x"}}
