"""Proxy usage as an operator sets it up and sees it."""

from pathlib import Path

import pytest

from tests.unit.server_stub_cli.plane import Agent, plane
from tests.unit.server_stub_cli.rig import Control


def test_usage_is_counted_once_profile_and_user_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with plane(tmp_path) as server:
        control = Control(monkeypatch, capsys, server.url, server.token)
        agent = Agent(server.url, "n1", control("node", "add", "n1", "--json").document["token"])
        assert agent.usage({"u1": 0}).status_code == 400  # no profile

        assert control("profile", "set", "n1").code == 0
        assert control("user", "add", "u1", "--name", "Una", "--quota", "1GiB").out == "user u1 is added\n"
        assert agent.usage({"u1": 1000}).status_code == 200
        assert agent.usage({"u1": 1000 + 1536}).status_code == 200

        usage = control("usage", "show", "--json").document
        shown = control("usage", "show").out

    [user], [node] = usage["users"], usage["nodes"]
    assert (user["id"], user["used_bytes"], user["quota_bytes"], user["per_node"]) == ("u1", 1536, 2**30, {"n1": 1536})
    assert (node["node_id"], node["collector_source"], node["collector_status"]) == ("n1", "file", "ok")
    assert "u1    Una   active  1.5 KiB  1.0 GiB" in shown
    assert "n1    file    ok" in shown


@pytest.mark.long
def test_a_user_can_be_kept_to_a_node_and_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with plane(tmp_path) as server:
        control = Control(monkeypatch, capsys, server.url, server.token)
        control("node", "add", "n1")
        user = control(
            *("user", "add", "u1", "--node", "n1", "--expires-at", "2030-01-02T05:04:05+02:00", "--disabled", "--json")
        ).document["user"]
        again = control("user", "add", "u1")

    assert (user["nodes"], user["enabled"], user["expires_at"]) == (["n1"], False, "2030-01-02T03:04:05Z")
    assert again.code != 0
    assert "u1" in again.err


@pytest.mark.long
def test_a_user_is_kept_billed_and_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with plane(tmp_path) as server:
        control = Control(monkeypatch, capsys, server.url, server.token)
        agent = Agent(server.url, "n1", control("node", "add", "n1", "--json").document["token"])
        control("profile", "set", "n1")
        control("user", "add", "u1", "--name", "=1+1", "--reset-day", "15")
        for seq in (1, 1, 0):  # repeated, then a late one
            assert agent.ledger({"u1": 2048}, seq).status_code == 200

        assert control("user", "set-quota", "u1", "2kB").out == (
            "user u1 has quota 2.0 KiB a month from day 15, and is over_quota\n"
        )
        exported = control("usage", "show", "--format", "csv").out.splitlines()
        assert exported[1].startswith("u1,'=1+1,over_quota,2048,2000,")
        assert control("user", "reset", "u1").code == 0
        agent.ledger({"u1": 2048}, 2).raise_for_status()
        agent.ledger({"u1": 2053}, 3).raise_for_status()
        user = control("user", "show", "u1", "--json").document["user"]
        assert (user["used_bytes"], user["per_node"], user["status"]) == (5, {"n1": 2053}, "active")

        for span in ("hour", "day", "month"):
            booked = control("usage", "show", "--by", span, "--user", "u1", "--node", "n1", "--json").document
            assert sum(one["bytes"] for one in booked["bookings"]) == 2053
        assert control("user", "set", "u1", "--disable").out.startswith("user u1 is disabled")
        assert "u1    =1+1  disabled" in control("user", "list").out
        audit = control("audit").out

    assert "used_bytes=2048" in audit
    assert "quota_bytes=[0, 2000]" in audit


@pytest.mark.long
def test_a_server_tells_of_expired_users_as_soon_as_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with plane(tmp_path) as server:
        control = Control(monkeypatch, capsys, server.url, server.token)
        control("user", "add", "u1", "--expires-at", "2026-01-02T03:04:05Z")
    with plane(tmp_path) as server:
        control = Control(monkeypatch, capsys, server.url, server.token)
        [event] = control("audit", "--action", "proxy.user.notify", "--json").document["events"]

    assert (event["target"], event["reason"]) == ("u1", "expiry:2026-01-02:expired")
