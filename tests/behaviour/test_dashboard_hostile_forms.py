"""What no browser sends to the web page is refused like any other wrong form, and never a fault of the server."""

import pytest

from tests.rigs.dashboard import signed_in
from tests.rigs.server_app import control_plane

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tags", "a" * 300),
        ("tags", " ".join(f"tag{number}" for number in range(100))),
        ("timeout_sec", "9" * 5_000),
        ("interpreter", "\0"),
        ("script", "x" * 70_000),
    ],
)
async def test_a_task_that_cannot_be_is_not_sent(field: str, value: str) -> None:
    async with control_plane() as world:
        await world.node("n1")
        async with signed_in(world) as someone:
            form = (await someone.page("/tasks/new")).form("/tasks/new")
            target = {} if field == "tags" else {"nodes": "n1"}
            answer = await someone.send(form, **{"script": "true", **target, field: value})
            assert answer.status_code == 400
        assert (await world.operator.get("/api/v1/tasks")).json() == {"tasks": []}


@pytest.mark.parametrize("header", [("origin", "http://["), ("origin", "null"), ("host", "[")])
async def test_a_form_from_nowhere(header: tuple[str, str]) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        headers = {"content-type": FORM, "origin": "http://control", **dict([header])}
        answer = await someone.client.post("/tasks/new", content=b"csrf=x", headers=headers)
        assert answer.status_code == 403


@pytest.mark.parametrize("body", [b"\xff", b"csrf=%ff", b"csrf=%ed%a0%80", b"a=1&" * 5_000])
async def test_a_form_that_is_none(body: bytes) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        answer = await someone.client.post("/tasks/new", content=body, headers={"content-type": FORM})
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        *("/nodes?q=%00&tag=%25&after=%ff", "/tasks?status=%ff&outcome=%00&node=%00", "/audit?q=%25%5f%00%ff"),
        *("/audit?before=" + "9" * 30, "/nodes/n1%00", "/nodes/n1?range=%00", "/usage?user=%00", "/tasks/new?like=%00"),
        *("/static/%00/..%2f..%2fpages.py", "/login?next=%00%0d%0aX:y", "/enrol?id=%00"),
    ],
)
async def test_odd_addresses_are_pages_or_refusals(path: str) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        answer = await someone.get(path)
        assert answer.status_code < 500
        assert "x" not in answer.headers
