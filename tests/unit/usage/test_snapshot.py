import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.memory import UsageMemory
from lattice_agent.usage.snapshot import ERROR_LIMIT, error_snapshot, ok_snapshot
from lattice_agent.wire.base import decode_json, encode
from lattice_agent.wire.usage import UsageReport, UsageSnapshot
from tests.golden_files import exchange

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def ok(memory: UsageMemory) -> UsageSnapshot:
    return ok_snapshot(memory, node_id="node-1", collector_source="file", at=NOW - timedelta(seconds=1), checked_at=NOW)


def error(text: str) -> UsageSnapshot:
    return error_snapshot(text, node_id="node-1", collector_source="file", checked_at=NOW)


def sent(snapshot: UsageSnapshot) -> dict[str, object]:
    body: dict[str, object] = decode_json(encode(UsageReport(node_id="node-1", snapshot=snapshot)))
    return body


def same_shape(ours: object, recorded: object) -> None:
    assert json.dumps(_shape(ours)) == json.dumps(_shape(recorded))


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in sorted(value.items())}
    return type(value).__name__


def test_trap_01_an_ok_report_has_the_keys_types_and_times_of_the_go_agent() -> None:
    body = sent(ok(UsageMemory({"stranger": 7, "user-1": 1000}, {}, 100)))
    same_shape(body, exchange("usage-first-report").body)
    assert body["snapshot"] == {
        "node_id": "node-1",
        "at": "2026-01-02T03:04:04Z",
        "core_uptime_sec": 100,
        "user_bytes": {"stranger": 7, "user-1": 1000},
        "collector_source": "file",
        "collector_status": "ok",
        "collector_checked_at": "2026-01-02T03:04:05Z",
    }


def test_trap_01_a_health_only_report_has_the_keys_types_and_null_of_the_go_agent() -> None:
    recorded = exchange("usage-health-only-error").body
    body = sent(error("proxy usage for user-1 cannot be negative"))
    same_shape(body, recorded)
    moved = {"at": "2026-01-02T03:04:05Z", "collector_checked_at": "2026-01-02T03:04:05Z"}
    assert body["snapshot"] == {**recorded["snapshot"], **moved}


def test_lines_are_sent_when_there_are_any() -> None:
    lines = {"0123456789abcdef": {"user-1": 10}}
    assert exchange("usage-line-bytes-unknown-line").body["snapshot"]["line_user_bytes"] == lines
    assert sent(ok(UsageMemory({"user-1": 410}, lines)))["snapshot"]["line_user_bytes"] == lines  # type: ignore[index]


def test_a_report_over_the_body_limit_is_an_error() -> None:
    lines = {f"{i:04d}" + "x" * 252: {"u" * 124 + f"{i:04d}": 2**53} for i in range(4096)}
    with pytest.raises(UsageSourceError, match="longer than 1048576 bytes"):
        ok(UsageMemory({"a": 1}, lines))


def test_the_longest_report_of_users_alone_fits() -> None:
    users = {"u" * 124 + f"{i:04d}": 2**53 for i in range(4096)}
    assert len(encode(UsageReport(node_id="n" * 128, snapshot=ok(UsageMemory(users, {}, 2**53))))) < 2**20


@given(st.text(st.characters(), max_size=600))
def test_an_error_text_is_one_line_within_its_limit_and_can_be_sent(text: str) -> None:
    snapshot = error(text)
    assert 0 < len(snapshot.collector_error) <= ERROR_LIMIT
    assert snapshot.collector_error.isprintable()
    assert encode(snapshot)
