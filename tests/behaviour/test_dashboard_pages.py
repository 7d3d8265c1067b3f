"""The pages of the fleet, a node, usage and the audit, as their markup."""

import re
from html import escape
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.rigs.dashboard import Browser, Page, signed_in
from tests.rigs.server_app import Caller, World, control_plane

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
RUNTIME = {"allow_exec": True, "task_sandbox": "strict", "task_sandbox_features": ["seccomp", "landlock"]}


async def beat(node: Caller, **fields: Any) -> None:
    metrics = {"cpu_percent": 12.5, "load1": 0.5, "memory_used": 2**30, "memory_total": 2**32}
    body = {"metrics": metrics, "version": "0.1.0", "agent_runtime": RUNTIME, **fields}
    (await node.post("/api/agent/metrics", body)).raise_for_status()


async def tag(world: World, node_id: str, *tags: str) -> None:
    (await world.operator.post(f"/api/v1/nodes/{node_id}/tags", {"tags": list(tags)})).raise_for_status()


def nodes_of(page: Page) -> list[str]:
    found = (re.fullmatch(r"/nodes/([^/?]+)", link) for link in page.links)
    return [match[1] for match in found if match]


async def test_the_fleet_says_how_each_node_is(autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        assert "No nodes yet" in (await someone.page("/nodes")).text
        for name in ("away", "drained", "fine", "new", "off"):
            node = await world.node(name)
            if name == "away":
                await beat(node)
                await trio.sleep(91)
            elif name != "new":
                await beat(node)
        await world.operator.post("/api/v1/nodes/drained/drain", {"draining": True})
        await world.operator.post("/api/v1/nodes/off/disable", {"disabled": True})
        page = await someone.page("/nodes")
        assert nodes_of(page) == ["away", "drained", "fine", "new", "off"]
        assert "5 nodes: 2 online, 2 offline, 1 disabled, 1 draining." in page.text
        for word in ("▲offline", "●online", "◐draining", "○never seen", "✕disabled", "●strict"):
            assert word in page.text


async def test_the_fleet_is_filtered_and_paged() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        for number in range(60):
            await world.node(f"n{number:02}")
        await tag(world, "n07", "web", "eu")
        await tag(world, "n50", "web")
        first = await someone.page("/nodes")
        assert nodes_of(first) == [f"n{number:02}" for number in range(50)]
        [link] = [link for link in first.links if "after=" in link]
        assert nodes_of(await someone.page(link)) == [f"n{number:02}" for number in range(50, 60)]
        assert nodes_of(await someone.page("/nodes?tag=web")) == ["n07", "n50"]
        assert nodes_of(await someone.page("/nodes?tag=web&q=N07")) == ["n07"]
        assert "No node is like that" in (await someone.page("/nodes?q=%25")).text


async def test_a_sandbox_that_is_weaker_or_unknown_is_marked() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("n1")
        seen = {}
        for runtime in (
            {**RUNTIME, "task_sandbox": "landlock", "task_sandbox_warning": "no namespaces here"},
            {**RUNTIME, "task_sandbox": "magic"},
            {**RUNTIME, "task_sandbox_warning": "no cgroup"},
            {**RUNTIME, "allow_exec": False},
        ):
            await beat(node, agent_runtime=runtime)
            page = await someone.page("/nodes")
            seen[page.text[page.text.index("online") :].split("load")[0]] = page
        texts = " | ".join(seen)
        for expected in (
            "▲landlock",
            "no namespaces here",
            "▲unknown level",
            "magic",
            "▲strict",
            "no cgroup",
            "○runs no tasks",
        ):
            assert expected in texts


async def test_a_node_is_added_and_its_token_is_shown_once() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        form = (await someone.page("/enrol")).form("/enrol")
        answer = await someone.send(form, id="web-1", name="The first", tags="eu, web")
        page = Page(answer.text)
        assert "lattice-agent -server http://control -node-id web-1 --token-file web-1.token" in page.text
        token = re.search(r"<<'END' (\S{43}) END", page.text)
        assert token is not None
        await beat(Caller(world.client, token[1], "web-1"))
        assert (await world.operator.get("/api/v1/nodes/web-1")).json()["node"]["tags"] == ["eu", "web"]
        assert token[1] not in (await someone.get("/nodes/web-1")).text
        renewed = await someone.send((await someone.page("/nodes/web-1")).form("/nodes/web-1/token"))
        assert "has a new token" in renewed.text
        assert (await Caller(world.client, token[1], "web-1").post("/api/agent/metrics", {})).status_code == 401


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": HOSTILE}, "id must be 1 to 128"),
        ({"id": "n1"}, "node n1 exists"),
        ({"id": "x", "tags": "A!"}, "a tag must"),
    ],
)
async def test_what_was_typed_stays_in_a_form_that_is_wrong(fields: dict[str, str], said: str) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await world.node("n1")
        answer = await someone.send((await someone.page("/enrol")).form("/enrol"), **fields)
        page = Page(answer.text)
        assert 400 <= answer.status_code < 500
        assert said in page.text
        assert page.form("/enrol").fields["id"] == fields["id"]


async def test_tags_drain_and_disable_from_the_page_of_a_node() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await world.node("n:1")
        here = "/nodes/n%3A1"
        for action, fields in (("tags", {"tags": "b a"}), ("drain", {}), ("disable", {})):
            answer = await someone.send((await someone.page(here)).form(f"{here}/{action}"), **fields)
            assert (answer.status_code, answer.headers["location"]) == (303, here)
        node = (await world.operator.get("/api/v1/nodes/n:1")).json()["node"]
        assert (node["tags"], node["draining"], node["disabled"]) == (["a", "b"], True, True)
        for action in ("drain", "disable"):
            await someone.send((await someone.page(here)).form(f"{here}/{action}"))
        node = (await world.operator.get("/api/v1/nodes/n:1")).json()["node"]
        assert (node["draining"], node["disabled"]) == (False, False)
        assert [event["actor"] for event in await world.audit(limit="5")] == ["test-0"] * 5


async def test_a_node_that_there_is_not() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        answer = await someone.get("/nodes/nobody")
        assert answer.status_code == 404
        assert "node nobody not found" in Page(answer.text).text


async def test_a_node_shows_its_facts_policy_and_charts() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        node = await world.node("n1")
        bare = await someone.page("/nodes/n1")
        assert "Nothing was reported in this time" in bare.text
        facts = {"hostname": "alpha", "cpu_model": "Some CPU", "cpu_cores": 4, "memory_total": 2**33}
        policy = {"allow_exec": True, "only_listed_scripts": True, "listed_scripts": ["a" * 64], "max_timeout_sec": 90}
        await beat(node, host_facts=facts, policy=policy)
        page = await someone.page("/nodes/n1?range=24h")
        for expected in (
            *("alpha", "Some CPU, 4 cores", "8.0 GiB", "landlock, seccomp", "only those that policy lists: 1"),
            *("1 min 30 s", "Now 12 %, mean 12 %, highest 12 %.", "Memory, of 4.0 GiB"),
        ):
            assert expected in page.text
        charts = [given for tag, given in page.elements if tag == "svg" and "chart" in given.get("class", "")]
        assert len(charts) == 5
        assert all(given["role"] == "img" and given["aria-label"] for given in charts)
        assert (await someone.get("/nodes/n1?range=1y")).status_code == 400


async def test_tasks_and_users_of_a_node() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await world.node("n1")
        await world.node("n2")
        task = await world.task("n1", script="echo 'what it is known by'")
        await world.operator.put("/api/v1/nodes/n1/profile", {})
        await world.operator.post("/api/v1/users", {"id": "here", "nodes": ["n1"]})
        await world.operator.post("/api/v1/users", {"id": "elsewhere", "nodes": ["n2"]})
        page = await someone.page("/nodes/n1")
        assert f"/tasks/{task}" in page.links
        assert "what it is known by" in page.text
        assert "○queued" in page.text
        assert "/usage?user=here" in page.links
        assert "/usage?user=elsewhere" not in page.links


async def spend(world: World, node: Caller, user: str, amount: int) -> None:
    """By two snapshots, of which the second is billed."""
    for total in (0, amount):
        snapshot = {"at": "2026-03-01T12:00:00Z", "core_uptime_sec": 100 + total, "user_bytes": {user: total}}
        (await node.post("/api/agent/proxy-usage", {"snapshot": snapshot})).raise_for_status()


async def test_usage_by_user_node_day_and_month(autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        assert "No proxy users yet" in (await someone.page("/usage")).text
        node = await world.node("n1")
        await world.operator.put("/api/v1/nodes/n1/profile", {})
        for user in ("ann", "bob"):
            await world.operator.post("/api/v1/users", {"id": user, "quota_bytes": 4096})
        await spend(world, node, "ann", 3_500)
        page = await someone.page("/usage")
        for expected in (
            "3.4 KiB of 4.0 KiB, 85 %",
            "The last 30 days 3.4 KiB in all",
            "The last 12 months 3.4 KiB in all",
        ):
            assert expected in page.text
        assert "01 Mar: 3.4 KiB" in page.text
        assert "Mar 26: 3.4 KiB" in page.text
        assert "The last 30 days 0 B in all" in (await someone.page("/usage?user=bob")).text
        assert "3.4 KiB of 4.0 KiB" in (await someone.page("/usage?node=n1&q=AN")).text
        assert (await someone.get("/usage?user=nobody")).status_code == 404
        assert (await someone.get("/usage?node=nobody")).status_code == 404


async def test_users_are_paged() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        for number in range(55):
            await world.operator.post("/api/v1/users", {"id": f"u{number:02}"})
        first = await someone.page("/usage")
        [link] = [link for link in first.links if "after=" in link]
        second = await someone.page(link)
        assert [link for link in second.links if link.startswith("/usage?user=")] == [
            f"/usage?user=u{number}" for number in range(50, 55)
        ]


async def test_the_audit_is_searched_and_paged() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        for number in range(120):
            await world.node(f"n{number:03}")
        first = await someone.page("/audit?action=node.add")
        assert first.text.count("node.add") == 100
        [older] = [link for link in first.links if "before=" in link]
        assert (await someone.page(older)).text.count("node.add") == 20
        found = await someone.page("/audit?q=N042")
        assert found.text.count("node.add") == 1
        assert "No event is like that" in (await someone.page("/audit?q=%3Cb%3E")).text
        assert (await someone.get("/audit?before=x")).status_code == 400


PATHS = ("/nodes", "/nodes/n1", "/nodes/n1?range=7d", "/usage", "/usage?node=n1", "/audit", "/enrol", "/login")


async def hostile_world(world: World) -> None:
    """Everything that a node, a user or a caller can choose is markup and control characters."""
    node = await world.node("n1")
    text = HOSTILE + "\u202eabc\x1b[31m"
    await world.operator.post("/api/v1/nodes", {"id": "n2", "name": text})
    facts = dict.fromkeys(("hostname", "os", "platform", "kernel_version", "arch", "cpu_model", "virtualization"), text)
    runtime = {"allow_exec": True, "task_sandbox": text, "task_sandbox_warning": text, "task_sandbox_features": [text]}
    policy = {"allow_exec": True, "default_level": text, "levels": [text], "interpreters": [text], "refusal": text}
    await beat(node, version=text, host_facts=facts, agent_runtime=runtime, policy=policy)
    inventory = {"inventory": {"cpu": {"model": text}, "disks": [{"name": text}]}}
    (await node.post("/api/agent/inventory", inventory)).raise_for_status()
    (await node.post("/api/agent/event", {"kind": text, "user": text, "message": text})).raise_for_status()
    await world.operator.put("/api/v1/nodes/n1/profile", {})
    await world.operator.post("/api/v1/users", {"id": "u1", "name": text})
    health = {"collector_source": "xray_api", "collector_status": "error", "collector_error": text}
    (await node.post("/api/agent/proxy-usage", {"snapshot": health})).raise_for_status()
    await world.task("n1", script=text)


async def check_harmless(someone: Browser, path: str) -> None:
    answer = await someone.get(path)
    assert answer.status_code in (200, 303), path
    page = Page(answer.text)
    assert "alert(1)" not in "".join(f"{given}" for tag, given in page.elements if tag in ("script", "a", "form"))
    assert not [given for _, given in page.elements if any(name.startswith("on") or name == "style" for name in given)]
    assert {given["src"].split("/")[1] for tag, given in page.elements if tag == "script"} <= {"static"}
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object", "style")]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", answer.text)


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_that_others_say_becomes_markup(path: str) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await hostile_world(world)
        await check_harmless(someone, path)


async def test_what_others_say_is_shown_all_the_same() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await hostile_world(world)
        for path in ("/nodes", "/nodes/n1", "/usage"):
            assert "<script>alert(1)</script>" in (await someone.page(path)).text
            assert escape("<script>alert(1)</script>") in (await someone.get(path)).text
        assert "\\u202eabc\\x1b[31m" in (await someone.page("/nodes")).text


@pytest.mark.parametrize("path", PATHS[:-1])
async def test_every_form_carries_the_token_and_every_field_a_label(path: str) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await hostile_world(world)
        page = await someone.page(path)
        for form in page.forms:
            assert form.method == "get" or form.fields["csrf"]
        ids = [given["id"] for _, given in page.elements if "id" in given]
        assert len(ids) == len(set(ids))
        labelled = {given["for"] for tag, given in page.elements if tag == "label"}
        fields = [given for tag, given in page.elements if tag in ("input", "select", "textarea")]
        assert {given["id"] for given in fields if given.get("type") != "hidden"} <= labelled
        assert [tag for tag, _ in page.elements].count("h1") == 1
