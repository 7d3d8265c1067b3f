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
