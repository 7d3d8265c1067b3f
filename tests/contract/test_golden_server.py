"""The recorded requests, answered by our control plane: the recorded status and shape, error code and message.

Each replayed exchange gets a control plane of its own, put into the state that the recording was made in. Every file
of tests/golden is either in ``REPLAYED`` or in ``NOT_REPLAYED``, with the reason.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from server_stub.config import Limits
from server_stub.rules.accounts import Account
from server_stub.rules.leases import Grant
from server_stub.rules.usage import Baseline
from server_stub.store.records import Profile, Task, User
from tests.golden_files import Exchange, exchange, exchanges
from tests.rigs.server_app import START, Caller, TrioClock, World, control_plane, websocket

NODES = ("node-1", "node-2", "node-3")
OUTPUT_LIMITS = {
    "task-result-truncated-stdout": 100,
    "task-result-truncated-both": 100,
    "task-result-exit3-truncated": 100,
    "task-result-truncated-mid-char": 100,
    "task-result-limit16-exceeded-400": 16,
}
Prepare = Callable[[World, Exchange], Awaitable[None]]


async def nothing(_world: World, _recorded: Exchange) -> None:
    """A fresh control plane with three nodes."""


def add_task(world: World, task_id: str, *, nodes: tuple[str, ...], output_limit: int = 65_536, **fields: str) -> None:
    script = fields.get("script", "true")
    digest = hashlib.sha256(script.encode()).hexdigest()
    task = Task(task_id, "op", fields.get("interpreter", "sh"), script, digest, 30, output_limit, START, nodes)
    world.store.write(lambda tables: tables.tasks.add(task))


def grant(world: World, task_id: str, node_id: str, lease_id: str) -> None:
    now = TrioClock().now()
    lease = Grant(task_id, 1, now + timedelta(seconds=330))
    world.store.write(lambda tables: tables.tasks.grant(lease, node_id, lease_id, now))


async def leased(world: World, recorded: Exchange) -> None:
    """The task of the request is leased under the lease of the request."""
    sent = recorded.body["result"]
    node_id = recorded.body["node_id"]
    add_task(world, sent["task_id"], nodes=(node_id,), output_limit=OUTPUT_LIMITS.get(recorded.name, 65_536))
    grant(world, sent["task_id"], node_id, sent["lease_id"])


async def leased_to_two(world: World, recorded: Exchange) -> None:
    sent = recorded.body["result"]
    add_task(world, sent["task_id"], nodes=("node-1", "node-2"))
    grant(world, sent["task_id"], "node-1", sent["lease_id"])


def reported_after(prepare: Prepare) -> Prepare:
    """The same request was answered before."""

    async def prepared(world: World, recorded: Exchange) -> None:
        await prepare(world, recorded)
        answer = await send(world, recorded)
        assert answer.status_code == 200, answer.text

    return prepared


async def leased_anew(world: World, recorded: Exchange) -> None:
    """The request's lease is not the newest one."""
    await leased(world, recorded)
    grant(world, recorded.body["result"]["task_id"], "node-1", "lease_00000000000000000000000000000028")


async def queued(world: World, recorded: Exchange) -> None:
    """The tasks of the answer, and two younger ones."""
    for task in recorded.answer:
        add_task(world, task["id"], nodes=("node-1",), interpreter=task["interpreter"], script=task["script"])
    if len(recorded.answer) > 1:
        add_task(world, "task_younger1", nodes=("node-1",))
        add_task(world, "task_younger2", nodes=("node-1",))


async def execution_off(world: World, _recorded: Exchange) -> None:
    await world.operator.post("/api/v1/kill-switch", {"enabled": True})


async def node_3_off(world: World, _recorded: Exchange) -> None:
    await world.operator.post("/api/v1/nodes/node-3/disable", {"disabled": True})


async def debug_on(world: World, _recorded: Exchange) -> None:
    await world.operator.put("/api/v1/nodes/node-1/config", {"debug": True})


async def overridden(world: World, recorded: Exchange) -> None:
    ip_config = {name: recorded.answer["ip_config"][name] for name in ("mode", "static_ipv4")}
    order = {"terminal_transport": recorded.answer["terminal_transport"], "ip_config": ip_config}
    (await world.operator.put("/api/v1/nodes/node-1/config", order)).raise_for_status()


def counted(uptime: int | None = None, **counters: int) -> Prepare:
    """A profile, ``user-1``, and a stored snapshot of such counters (none if there is no uptime)."""

    async def prepared(world: World, _recorded: Exchange) -> None:
        def work(tables: Any) -> None:
            tables.usage.add_profile(Profile("node-1", START))
            tables.usage.add_user(User(Account("user-1"), "user-1", START))
            if uptime is not None:
                baseline = Baseline(uptime, {name.replace("_", "-"): value for name, value in counters.items()})
                tables.usage.set_baseline("node-1", baseline, START)

        world.store.write(work)

    return prepared


@dataclass(frozen=True)
class Case:
    prepare: Prepare = nothing
    status: int | None = None
    """Where ours differs from the recorded one on purpose."""
    body: Any = None
    """Where the recording does not hold what was sent."""
    exact: bool = False
    """Values are compared, too."""


RESULTS_TAKEN = (
    *("empty", "exec-disabled", "exit0-bash", "exit0-node", "exit0-python3", "exit0-sh", "exit3", "exit3-truncated"),
    *("html-escaped", "interpreter-not-found", "invalid-utf8", "null-fields-200", "refused-interpreter"),
    *("root-refused", "signal", "sigterm", "stderr-only", "timeout", "truncated-both", "truncated-stdout"),
    *("duplicate-first-200", "limit16-exceeded-400", "stdout-oversized-400", "truncated-mid-char"),
)
RESULTS_UNREAD = (
    *("bad-json-400", "bad-time-400", "body-oversized-400", "float-exit-400", "trailing-data-400", "wrong-types-400"),
    "unknown-task-403",
)
WITHOUT_STATE = (
    *("config-ok", "config-wrong-method-405", "control-stream-401", "control-stream-handshake", "debug-events-off"),
    *("empty-node-id-401", "event-other", "event-ssh-login", "health", "hello-first", "hello-private-ip-400"),
    *("log-sources-empty", "logs-unknown-source-403", "lower-case-bearer-401", "metrics-bad-json-400"),
    *("metrics-documentation-ip-400", "metrics-exec-off", "metrics-first", "metrics-minimal", "metrics-second"),
    *("missing-token-401", "monitor-result-fail", "monitor-result-ok", "monitors-empty", "rate-limit-429", "readyz"),
    *("singbox-inventory-error", "singbox-inventory-ok", "singbox-inventory-port-number-400", "tasks-poll-empty"),
    *("terminal-inputs-404", "terminal-sessions-null", "terminal-stream-404", "token-in-body-401"),
    *("unknown-node-id-401", "unknown-path-404", "usage-health-only-no-profile-400", "usage-no-profile-400"),
    *("version", "wrong-node-id-401", "wrong-token-401"),
)
REPLAYED: dict[str, Case] = {
    **{name: Case() for name in WITHOUT_STATE},
    **{f"task-result-{name}": Case(leased, exact=True) for name in RESULTS_TAKEN},
    **{f"task-result-{name}": Case() for name in RESULTS_UNREAD},
    **{f"tasks-poll-one-{name}": Case(queued, exact=True) for name in ("sh", "bash", "python3", "node")},
    "tasks-poll-three": Case(queued, exact=True),
    "tasks-poll-kill-switch": Case(execution_off, exact=True),
    "task-result-stale-lease-403": Case(leased_anew),
    "task-result-duplicate-multi-200": Case(reported_after(leased_to_two), exact=True),
    "task-result-duplicate-single-403": Case(reported_after(leased), status=200),
    "disabled-node-401": Case(node_3_off),
    "disabled-node-tasks-401": Case(node_3_off),
    "config-debug-collect": Case(debug_on),
    "config-overrides": Case(overridden),
    "version-kill-switch": Case(execution_off),
    # The recorder replaced the machine's uptime by 86400; what was sent there was no integer.
    "metrics-wrong-types-400": Case(body={"node_id": "node-1", "metrics": {"uptime_seconds": "86400"}}),
    "usage-first-report": Case(counted(), exact=True),
    "usage-delta": Case(counted(100, user_1=1000), exact=True),
    "usage-same-again": Case(counted(110, user_1=1500), exact=True),
    "usage-uptime-fell": Case(counted(110, user_1=1500), exact=True),
    "usage-users-ignored": Case(counted(5, user_1=200), exact=True),
    "usage-health-only-error": Case(counted(20, user_1=250), exact=True),
    "usage-empty-map": Case(counted(30, user_1=300), exact=True),
    "usage-null-map": Case(counted(60, user_1=400), exact=True),
    "usage-after-empty": Case(counted(60), exact=True),
    "usage-line-bytes-unknown-line": Case(counted(60, user_1=400), exact=True),
    **{
        f"usage-{name}-400": Case(counted(30, user_1=300))
        for name in (
            *("bad-id", "error-with-bytes", "fractional", "negative", "negative-uptime", "source-invalid"),
            *("status-invalid", "too-many"),
        )
    },
}
_NO_LOG_SOURCES = "there are no log sources yet"
_NO_TERMINAL = "there are no terminal sessions yet"
NOT_REPLAYED = {
    "monitors-two": "there are no monitors yet",
    "debug-events": "there is no log store yet, so none are accepted",
    "log-sources-agent-debug-trap": _NO_LOG_SOURCES,
    "log-sources-one": _NO_LOG_SOURCES,
    "logs-batch": _NO_LOG_SOURCES,
    "logs-path-mismatch-400": _NO_LOG_SOURCES,
    "logs-rate-limit-429": _NO_LOG_SOURCES,
    "terminal-events-closed": _NO_TERMINAL,
    "terminal-events-open": _NO_TERMINAL,
    "terminal-events-output": _NO_TERMINAL,
    "terminal-inputs": _NO_TERMINAL,
    "terminal-inputs-close": _NO_TERMINAL,
    "terminal-stream-handshake": _NO_TERMINAL,
}
# Whose token <token> stands for, where it is not that of the node that the request names.
TOKEN_OF = {"wrong-node-id-401": "node-1", "unknown-node-id-401": "node-1", "empty-node-id-401": "node-1"}


def test_every_recorded_exchange_is_replayed_or_excused() -> None:
    recorded = {e.name for e in exchanges()}
    assert set(REPLAYED) | set(NOT_REPLAYED) == recorded
    assert not set(REPLAYED) & set(NOT_REPLAYED)


@pytest.mark.parametrize("name", sorted(REPLAYED))
async def test_recorded_request_gets_the_recorded_answer(name: str) -> None:
    recorded, case = exchange(name), REPLAYED[name]
    limits = Limits(node_burst=0) if name == "rate-limit-429" else None
    async with control_plane(limits) as world:
        for node_id in NODES:
            await world.node(node_id)
        await case.prepare(world, recorded)
        answer = await send(world, recorded, case.body)
    if case.status is not None:
        assert answer.status_code == case.status
        return
    assert answer.status_code == recorded.status, answer.text
    check_headers(answer, recorded)
    if recorded.answer is None:
        assert recorded.answer_text is None or answer.text == recorded.answer_text
        return
    ours = without_announcement(answer.json(), recorded.answer)
    assert shape(ours) == shape(recorded.answer)
    if recorded.status >= 400:
        assert error_of(ours) == error_of(recorded.answer)
        assert ours["error"]["request_id"] == answer.headers["x-lattice-request-id"]
    elif case.exact:
        assert without_leases(ours) == without_leases(recorded.answer)


async def send(world: World, recorded: Exchange, body: Any = None) -> httpx.Response:
    """The recorded request, with a valid token in place of the stand-in."""
    headers = dict(recorded.headers)
    if "authorization" in headers:
        token = await token_for(world, recorded)
        headers["authorization"] = headers["authorization"].replace("<token>", token).replace("<wrong-token>", "x" * 43)
    if recorded.path.endswith("/stream"):
        return await websocket(world.app, recorded.path, urlencode(recorded.query), headers)
    content: dict[str, Any] = {}
    if recorded.body_text is not None:
        content["content"] = recorded.body_text.encode()
    elif recorded.body is not None:
        content["json"] = recorded.body if body is None else body
    return await world.client.request(recorded.method, recorded.path, params=recorded.query, headers=headers, **content)


async def token_for(world: World, recorded: Exchange) -> str:
    """A fresh token for the node whose token was sent."""
    named = (recorded.body or {}).get("node_id") or recorded.query.get("node_id") or "node-1"
    node_id = TOKEN_OF.get(recorded.name, named)
    operator: Caller = world.operator
    answer = await operator.post(f"/api/v1/nodes/{node_id}/rotate", {})
    return str(answer.raise_for_status().json()["token"])


def check_headers(answer: httpx.Response, recorded: Exchange) -> None:
    for name, value in recorded.answer_headers.items():
        if name == "x-lattice-request-id":
            assert re.fullmatch("req_[a-z2-7]{16}", answer.headers[name])
        else:
            assert answer.headers[name] == value


def shape(value: Any) -> Any:
    """Keys and JSON types."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def error_of(answer: Any) -> tuple[str, str]:
    return answer["error"]["code"], answer["error"]["message"]


def without_announcement(ours: Any, recorded: Any) -> Any:
    if isinstance(ours, dict) and "lattice_ext" not in recorded:
        return {key: value for key, value in ours.items() if key != "lattice_ext"}
    return ours


def without_leases(answer: Any) -> Any:
    if isinstance(answer, list):
        return [{key: value for key, value in item.items() if key != "lease_id"} for item in answer]
    return answer
