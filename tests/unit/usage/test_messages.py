"""The bytes of usage reports, against recorded ones; and answers of every kind, also broken ones."""

import json
from datetime import datetime
from typing import Any

import pytest

from lattice_agent.link.answer import Answer
from lattice_agent.usage.ledger import line_key
from lattice_agent.usage.messages import (
    ERROR_LIMIT,
    Collector,
    health_report,
    ignored_users,
    ledger_report,
    says_no_profile,
    values_report,
    zero_report,
)
from tests.golden_files import FOLDER
from tests.unit.usage.ledger_world import NOW

STAMP = '"2026-01-02T03:04:05Z"'
COLLECTOR = Collector("file", NOW)


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"usage-{name}.json").read_text())
    return found


def as_recorded(body: bytes, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A report of ours and a recorded one, without what must differ: the times are of another day, the uptime is 0."""
    ours, theirs = json.loads(body), recorded(name)["request"]["body"]
    for report in (ours, theirs):
        for stamp in ("at", "collector_checked_at"):
            datetime.fromisoformat(report["snapshot"].pop(stamp, "2026-01-02T03:04:05Z"))
    assert ours["snapshot"]["core_uptime_sec"] == 0
    theirs["snapshot"]["core_uptime_sec"] = 0
    return ours, theirs


@pytest.mark.parametrize("name", ["first-report", "delta", "same-again", "users-ignored", "uptime-fell", "after-empty"])
def test_values_look_as_recorded(name: str) -> None:
    snapshot = recorded(name)["request"]["body"]["snapshot"]
    collector = Collector(snapshot.get("collector_source", ""), NOW)
    ours, theirs = as_recorded(values_report("node-1", snapshot["user_bytes"], collector), name)
    theirs["snapshot"].setdefault("collector_status", "ok")
    assert ours == theirs


def test_values_by_line_look_as_recorded() -> None:
    snapshot = recorded("line-bytes-unknown-line")["request"]["body"]["snapshot"]
    values = dict(snapshot["user_bytes"])
    for line, users in snapshot["line_user_bytes"].items():
        values |= {line_key(line, user): count for user, count in users.items()}
    ours = json.loads(values_report("node-1", values, COLLECTOR))
    assert ours["snapshot"]["user_bytes"] == snapshot["user_bytes"]
    assert ours["snapshot"]["line_user_bytes"] == snapshot["line_user_bytes"]


def test_health_looks_as_recorded() -> None:
    snapshot = recorded("health-only-error")["request"]["body"]["snapshot"]
    body = health_report("node-1", snapshot["collector_error"], Collector(snapshot["collector_source"], NOW))
    ours, theirs = as_recorded(body, "health-only-error")
    assert ours == theirs


def test_a_zero_report_to_the_byte() -> None:
    assert zero_report("node-1", COLLECTOR).decode() == (
        f'{{"node_id":"node-1","snapshot":{{"node_id":"node-1","at":{STAMP},"core_uptime_sec":0,"user_bytes":{{}},'
        f'"collector_source":"file","collector_status":"ok","collector_checked_at":{STAMP}}}}}'
    )


def test_a_ledger_report_to_the_byte() -> None:
    assert ledger_report("node-1", "0" * 32, 7, {"ann": 5}, COLLECTOR).decode() == (
        f'{{"node_id":"node-1","at":{STAMP},"ledger":{{"id":"{"0" * 32}","seq":7,"totals":{{"ann":5}}}},'
        f'"collector_source":"file","collector_status":"ok","collector_checked_at":{STAMP}}}'
    )


def test_a_ledger_report_without_totals_is_of_health_only() -> None:
    assert "ledger" not in json.loads(ledger_report("node-1", "0" * 32, 7, {}, COLLECTOR))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("down", "down"),
        ("two\nlines\tand\x1b[31m", "two lines and [31m"),
        ("", "unknown error"),
        ("\n \x00", "unknown error"),
        ("é" * 600, "é" * ERROR_LIMIT),
    ],
)
def test_an_error_is_one_bounded_line(error: str, told: str) -> None:
    snapshot = json.loads(health_report("node-1", error, COLLECTOR))["snapshot"]
    assert (snapshot["collector_error"], snapshot["user_bytes"]) == (told, None)


def answer(document: object) -> Answer:
    return Answer(400, {}, document if isinstance(document, bytes) else json.dumps(document).encode())


def refusal(message: str) -> Answer:
    return answer({"error": {"code": "bad_request", "message": message}})


@pytest.mark.parametrize(
    "broken", [b"", b"<html>", b"{", b"[]", b"\xff", b"{}{}", b"[" * 100_000], ids=lambda body: repr(body[:8])
)
def test_an_answer_that_cannot_be_read_says_nothing_and_a_zero_report_follows(broken: bytes) -> None:
    assert ignored_users(answer(broken)) == 1
    assert not says_no_profile(answer(broken))


def test_no_answer_says_nothing() -> None:
    assert ignored_users(None) == 1
    assert not says_no_profile(None)


@pytest.mark.parametrize(
    ("document", "ignored"),
    [
        ({"users_ignored": 3}, 3),
        ({"users_ignored": 0}, 0),
        ({}, 0),
        ({"users_ignored": "3"}, 1),
        ({"users_ignored": 1.5}, 1),
        (recorded("users-ignored")["response"]["body"], 1),
        (recorded("delta")["response"]["body"], 0),
    ],
)
def test_ignored_users_are_read(document: object, ignored: int) -> None:
    assert ignored_users(answer(document)) == ignored


@pytest.mark.parametrize("name", ["no-profile-400", "health-only-no-profile-400"])
def test_a_missing_profile_is_known_by_its_recorded_text(name: str) -> None:
    assert says_no_profile(answer(recorded(name)["response"]["body"]))


@pytest.mark.parametrize("name", ["bad-id-400", "negative-400", "too-many-400", "source-invalid-400", "fractional-400"])
def test_other_refusals_are_not_a_missing_profile(name: str) -> None:
    assert not says_no_profile(answer(recorded(name)["response"]["body"]))


@pytest.mark.parametrize("message", ["not found", "404 page not found", "proxy node profile node-1 is gone", ""])
def test_a_text_that_only_looks_like_it_is_no_missing_profile(message: str) -> None:
    assert not says_no_profile(refusal(message))
