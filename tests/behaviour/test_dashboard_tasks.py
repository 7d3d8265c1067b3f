"""The pages of tasks without a browser: what they say, what their forms do, and what nodes and scripts cannot do."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from server_stub.actions.giving_up import give_up_overdue
from server_stub.rules.states import TaskOutcome, TaskStatus
from server_stub.store.sqlite.nodes import SqliteNodes
from tests.rigs.dashboard import Browser, Page, signed_in
from tests.rigs.server_app import START, Caller, control_plane, result_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\x1b]52;c;aGk=\x07"
LOST = TaskOutcome(TaskStatus.LOST, "lost on DB-1", START)
SHOWN = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\\u202e"
POLICY = {
    "allow_exec": True,
    "default_level": "strict",
    "levels": ["strict", "network"],
    "interpreters": ["sh", "bash"],
    "max_timeout_sec": 10,
}


async def write(someone: Browser, path: str = "/tasks/new", action: str = "send", **fields: str) -> Any:
    """Fills in the form of a new task."""
    form = (await someone.page(path)).form("/tasks/new")
    return await someone.send(form, **{"script": "echo hello", "action": action} | fields)


async def tell_policy(node: Caller, **policy: object) -> None:
    answer = await node.post("/api/agent/metrics", {"policy": POLICY | policy})
    answer.raise_for_status()


async def lease(node: Caller) -> dict[str, Any]:
    answer = await node.get("/api/agent/tasks", max="1")
    [task] = answer.raise_for_status().json()
    leased: dict[str, Any] = task
    return leased


async def end(node: Caller, task: dict[str, Any], **result: object) -> None:
    (await node.post("/api/agent/task-result", result_of(task, **result))).raise_for_status()


def words(page: Page, action: str) -> list[str]:
    return [form.action for form in page.forms if form.action.endswith(action)]


async def test_a_task_from_the_form_to_its_result() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        await tell_policy(node)
        answer = await write(someone, nodes="web-1", script="echo hello\r\necho again\r\n")
        assert answer.status_code == 303
        place = answer.headers["location"]
        page = await someone.page(place)
        assert "queued waits for web-1 to take it" in page.text
        assert "created" in page.text
        task = await lease(node)
        assert task["script"] == "echo hello\necho again\n"
        assert "leased" in (await someone.page(place)).text
        await end(node, task, exit_code=3, error="exit status 3", stdout="hello\n", stderr="oh\n")
        page = await someone.page(place)
        assert "failed exit code 3" in page.text
        assert "hello" in page.text
        assert words(page, "/cancel") == []
        assert words(page, "/rerun") == [f"{place}/rerun"]


async def test_the_list_says_outcomes_in_words_and_filters() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node, other = await world.node("web-1"), await world.node("web-2")
        await world.task("web-1", "web-2", script="#!/bin/sh\n# why\nuptime -p\n")
        await world.task("web-2", script="second")
        await end(node, await lease(node))
        await end(other, await lease(other), exit_code=1, error="exit status 1")
        page = await someone.page("/tasks")
        assert "uptime -p" in page.text
        assert "1 succeeded" in page.text
        assert "1 failed" in page.text
        assert "second" not in (await someone.page("/tasks?outcome=failed")).text
        assert "uptime" not in (await someone.page("/tasks?status=queued")).text
        assert "second" not in (await someone.page("/tasks?node=web-1")).text
        assert "second" in (await someone.page("/tasks?status=nonsense&outcome=nonsense")).text


async def test_what_a_node_would_say_is_shown_before_and_once_more_when_it_would_refuse() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        await tell_policy(node)
        page = Page((await write(someone, action="look", nodes="web-1", timeout_sec="60")).text)
        assert "would run" in page.text
        assert "10 s" in page.text
        assert await world.operator.get("/api/v1/tasks") is not None
        answer = await write(someone, nodes="web-1", interpreter="node", script="console.log(1)")
        assert answer.status_code == 200
        page = Page(answer.text)
        assert "would refuse" in page.text
        assert "It was not sent" in page.text
        assert (await world.operator.get("/api/v1/tasks")).json()["tasks"] == []
        answer = await someone.send(page.form("/tasks/new"), action="sure")
        assert answer.status_code == 303
        assert len((await world.operator.get("/api/v1/tasks")).json()["tasks"]) == 1


async def test_a_node_that_told_nothing_is_not_known() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await world.node("web-1")
        answer = await write(someone, nodes="web-1")
        assert "not known" in Page(answer.text).text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": "", "tags": ""}, "choose at least one node, or a tag"),
        ({"script": " "}, "the script is empty"),
        ({"script": "x" * 65_537}, "the script is longer than 65,536 bytes"),
        ({"nodes": "elsewhere"}, "node elsewhere not found"),
        ({"tags": "web"}, "give either nodes or tags"),
        ({"timeout_sec": "601"}, "timeout_sec must be between 1 and 600"),
        ({"concurrency": "-1"}, "nodes at once: '-1' is not a whole number"),
        ({"interpreter": "perl"}, 'interpreter "perl" is not allowlisted'),
        ({"nodes": " ".join(f"n{number}" for number in range(300))}, "300 nodes are named; a task is for 256 at most"),
    ],
)
async def test_what_cannot_be_meant_is_said_and_nothing_is_lost(fields: dict[str, str], message: str) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await world.node("web-1")
        answer = await write(someone, **{"nodes": "web-1"} | fields)
        assert answer.status_code >= 400
        page = Page(answer.text)
        assert message in page.text
        sent = page.form("/tasks/new").fields
        assert all(sent[name].removeprefix("\n") == value for name, value in fields.items() if name != "interpreter")


async def test_a_task_for_tags_and_again_where_it_failed() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        nodes = [await world.node(f"web-{number}") for number in range(3)]
        for node in nodes:
            await tell_policy(node)
            await world.operator.post(f"/api/v1/nodes/{node.node_id}/tags", {"tags": ["web"]})
        answer = await write(someone, tags="web", concurrency="2", max_failures="2")
        place = answer.headers["location"]
        page = await someone.page(place)
        assert "0 of 3 nodes have ended" in page.text
        assert words(page, "/cancel") == [f"{place}/cancel"] * 4
        for number, node in enumerate(nodes):
            await end(node, await lease(node), exit_code=number and 1, error="exit status 1" if number else "")
        page = await someone.page(place)
        assert "3 of 3 nodes have ended" in page.text
        assert "1 succeeded" in page.text
        again = [form for form in page.forms if form.action == f"{place}/rerun"]
        answer = await someone.send(again[0])
        shown = await world.show(answer.headers["location"].removeprefix("/tasks/"))
        assert shown["nodes"] == ["web-1", "web-2"]
        assert f"does {place.removeprefix('/tasks/')} again" in (await someone.page(answer.headers["location"])).text


async def test_cancel_takes_back_what_waits_and_asks_for_what_runs() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        await world.node("web-2")
        task_id = await world.task("web-1", "web-2")
        await lease(node)
        page = await someone.page(f"/tasks/{task_id}?node=web-2")
        answer = await someone.send(page.form(f"/tasks/{task_id}/cancel"))
        assert answer.headers["location"] == f"/tasks/{task_id}?node=web-2"
        page = await someone.page(answer.headers["location"])
        assert "by test-0 before it was handed out" in page.text
        assert "cancel requested" in page.text
        assert words(page, "/cancel") == []
        answer = await someone.send(page.forms[0], csrf="x")
        assert answer.status_code == 403


async def test_the_same_again_to_be_changed() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await world.node("web-1")
        task_id = await world.task("web-1", script="\n\techo <&>\n", timeout_sec=7)
        form = (await someone.page(f"/tasks/new?like={task_id}")).form("/tasks/new")
        assert form.fields["script"] == "\n\n\techo <&>\n"  # the first line feed is the markup's
        assert (form.fields["nodes"], form.fields["timeout_sec"]) == ("web-1", "7")
        assert (await someone.get("/tasks/new?like=task_none")).status_code == 404
        form = (await someone.page("/tasks/new?node=web-1&tag=a&tag=b")).form("/tasks/new")
        assert (form.fields["nodes"], form.fields["tags"]) == ("web-1", "a b")


async def test_streams_are_downloaded_as_they_are_and_never_shown_as_a_page() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        task_id = await world.task("web-1")
        await end(node, await lease(node), stdout=HOSTILE)
        answer = await someone.get(f"/tasks/{task_id}/download?node=web-1&stream=stdout")
        assert answer.content == HOSTILE.encode()
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"] == f'attachment; filename="{task_id}-web-1-stdout.txt"'
        assert (await someone.get(f"/tasks/{task_id}/download?node=web-1&stream=script")).status_code == 404
        assert (await someone.get(f"/tasks/{task_id}/download?node=web-2&stream=stdout")).status_code == 404


async def test_nothing_that_a_script_or_node_says_becomes_markup() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        await tell_policy(node, allow_exec=False, refusal=HOSTILE)
        task_id = await world.task("web-1", script=HOSTILE)
        page = Page((await write(someone, action="look", nodes="web-1", script=HOSTILE)).text)
        assert_harmless(page)
        detail = {"outcome": "refused", "reason": HOSTILE, "rule": HOSTILE, "level": HOSTILE}
        await end(node, await lease(node), exit_code=-1, stdout=HOSTILE, stderr=HOSTILE, error=HOSTILE, detail=detail)
        for path in ("/tasks", f"/tasks/{task_id}", f"/tasks/{task_id}/state", f"/tasks/new?like={task_id}"):
            assert_harmless(await someone.page(path))
        page = await someone.page(f"/tasks/{task_id}")
        assert SHOWN in page.text
        assert_harmless(await someone.page("/tasks?node=" + "%3Cscript%3Ealert(1)%3C%2Fscript%3E"))


def assert_harmless(page: Page) -> None:
    assert all(given.get("src", "/").startswith("/static/") for tag, given in page.elements if tag == "script")
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [name for _, given in page.elements for name in given if name.startswith("on") or name == "style"]


async def test_a_long_output_is_cut_on_the_page_and_whole_in_the_download() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        task_id = await world.task("web-1", output_limit=262_144)
        await end(node, await lease(node), stdout="x" * 200_000)
        answer = await someone.get(f"/tasks/{task_id}")
        assert len(answer.content) < 100_000
        assert "the rest is in the download" in answer.text
        whole = await someone.get(f"/tasks/{task_id}/download?node=web-1&stream=stdout")
        assert len(whole.content) == 200_000


async def test_the_clock_that_fired_is_named() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        task_id = await world.task("web-1", timeout_sec=5)
        detail = {"outcome": "timed_out", "clock": "wall", "wall_ms": 5_000, "cpu_ms": 100, "level": "strict"}
        await end(node, await lease(node), exit_code=-1, error="context deadline exceeded", detail=detail)
        page = await someone.page(f"/tasks/{task_id}")
        assert "timed out wall clock, 5 s" in page.text
        assert "fired" in page.text.partition("wall")[2].partition("CPU")[0]


@pytest.mark.parametrize("outcome", ["timed_out", "cancelled", "failed", "output_limit"])
async def test_the_largest_numbers_of_a_result_break_no_page(outcome: str) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        task_id = await world.task("web-1")
        numbers = ("queued_ms", "wall_ms", "cpu_ms", "grace_ms", "max_rss_bytes", "stdout_bytes", "killed", "lingering")
        detail: dict[str, object] = dict.fromkeys(numbers, 2**64 - 1)
        detail |= {"outcome": outcome, "clock": "queued", "signal": 2**63 - 1}
        times = {"started_at": "0002-01-01T00:00:00Z", "finished_at": "9999-12-31T23:59:59.999999-23:59"}
        await end(node, await lease(node), exit_code=-(2**63), error="no", detail=detail, **times)
        for path in ("/tasks", "/nodes/web-1", f"/tasks/{task_id}", f"/tasks/{task_id}/state"):
            await someone.page(path)


async def test_a_reason_is_written_as_a_sentence_and_names_nodes_as_they_are(autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        for name in ("Web-A", "Web-B"):
            await world.node(name)
        task_id = await world.task("Web-A", "Web-B", queue_timeout_sec=1)
        await trio.sleep(2)
        give_up_overdue(world.store, world.app.state.plane.now(), 10)
        assert "Node Web-A: timed out" in (await someone.page(f"/tasks/{task_id}")).text


async def test_the_form_does_not_read_a_large_fleet(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        for number in range(101):
            await world.node(f"n{number}")
        await world.operator.post("/api/v1/nodes/n7/tags", {"tags": ["web"]})
        monkeypatch.setattr(SqliteNodes, "all", None)
        answer = await someone.get("/tasks/new")
        assert answer.status_code == 200
        assert 'name="chosen"' not in answer.text
        assert '<option value="web">' in answer.text


async def test_counters_beyond_any_duration_leave_the_page_as_it_is() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("web-1")
        task_id = await world.task("web-1")
        most = dict.fromkeys(("queued_ms", "wall_ms", "cpu_ms", "grace_ms", "max_rss_bytes", "stdout_bytes"), 2**64 - 1)
        await end(node, await lease(node), exit_code=-1, detail={"outcome": "timed_out", "clock": "wall", **most})
        for path in (f"/tasks/{task_id}", f"/tasks/{task_id}/state"):
            assert "213503982334 d" in (await someone.page(path)).text


async def test_a_disabled_node_is_not_sure_to_run_it() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await tell_policy(await world.node("web-1"))
        await world.operator.post("/api/v1/nodes/web-1/disable", {"disabled": True})
        page = Page((await write(someone, nodes="web-1")).text)
        assert "It was not sent" in page.text
        assert "disabled: it waits until the node is enabled" in page.text


async def test_what_is_typed_comes_back_as_it_was() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        fields = dict.fromkeys(("nodes", "tags", "timeout_sec"), "a\u202eb")
        form = Page((await write(someone, **fields)).text).form("/tasks/new")
        assert {name: form.fields[name] for name in fields} == fields


async def test_why_a_task_stopped_keeps_its_capitals() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        nodes = [await world.node(name) for name in ("DB-1", "DB-2")]
        task_id = await world.task("DB-1", "DB-2")
        for node in nodes:
            await lease(node)
        world.store.write(lambda tables: tables.tasks.set_outcome(task_id, LOST))
        assert "Lost on DB-1." in (await someone.page(f"/tasks/{task_id}")).text


async def test_pages_are_for_operators_who_are_signed_in() -> None:
    async with control_plane() as plane:
        for path in ("/tasks", "/tasks/new", "/tasks/x", "/tasks/x/state", "/tasks/x/download"):
            answer = await plane.client.get(path)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login?next=")
        for path in ("/tasks/new", "/tasks/x/cancel", "/tasks/x/rerun"):
            assert (await plane.client.post(path, data={})).status_code in (303, 403)
