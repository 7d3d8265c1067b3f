"""Event streams of operators in this process: what is made while nobody reads, the comment of a silent stream, and how
a stream ends. Over real sockets the kernel's buffers would hide who waits for whom."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from lattice_agent.wire.control import MAX_CHUNK
from server_stub.api.plane import Plane
from tests.rigs.dashboard import signed_in
from tests.rigs.server_app import Message, World, control_plane
from tests.unit.server_stub.test_rules_live_output import chunks

LIMIT = 262_144


class Browser:
    """The ASGI server's place: takes a body only when it is told to."""

    def __init__(self) -> None:
        self.status = 0
        self.taken: list[bytes] = []
        self.offered = 0
        self.ended = False
        self._may_take = trio.Semaphore(0)
        self._gone = trio.Event()

    def take(self, number: int) -> None:
        for _ in range(number):
            self._may_take.release()

    def leave(self) -> None:
        self._gone.set()

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.offered += 1
        await self._may_take.acquire()
        self.taken.append(message["body"])
        self.ended = not message.get("more_body", False)

    def events(self) -> list[tuple[str, dict[str, object]]]:
        found = []
        for block in b"".join(self.taken).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"])))
        return found


@asynccontextmanager
async def watched(world: World, path: str, header: tuple[str, str] | None = None) -> AsyncIterator[Browser]:
    browser = Browser()
    name, value = header or ("authorization", f"Bearer {world.operator.token}")
    target, _, query = path.partition("?")
    scope: Message = {
        "type": "http",
        "method": "GET",
        "path": f"/api/v1/{target}",
        "raw_path": f"/api/v1/{target}".encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode())],
        "client": ("198.51.100.7", 40_000),
        "server": ("control", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.app, scope, browser.receive, browser.send)
        yield browser
        browser.leave()


async def test_a_viewer_that_does_not_read_is_made_one_event_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    async with control_plane() as world:
        plane: Plane = world.app.state.plane
        await world.node("n1")
        task = await world.task("n1", output_limit=LIMIT)
        async with watched(world, f"tasks/{task}/output?node=n1") as browser:
            plane.live.begin(task, "n1", "l", LIMIT, 1e9, 0)
            for header, data in chunks([("stdout", b"x" * MAX_CHUNK)] * 20):
                plane.live.add("n1", header.model_copy(update={"task_id": task}), data)
                await trio.sleep(1)
            assert (browser.offered, browser.taken) == (1, [])
            browser.take(100)
            await trio.sleep(1)
            positions = [data["position"] for _, data in browser.events()]
    # The first was made of what there was then; what came while it waited is gathered.
    assert len(positions) == 1 + (19 * MAX_CHUNK + 16_383) // 16_384
    assert positions == sorted(positions)


async def test_a_silent_stream_says_that_it_is_alive(autojump_clock: trio.testing.MockClock) -> None:
    async with control_plane() as world:
        await world.node("n1")
        task = await world.task("n1")
        async with watched(world, f"tasks/{task}/events") as browser:
            browser.take(100)
            await trio.sleep(50)
            assert browser.taken[1:] == [b": alive\n\n"] * 3


async def test_many_changes_are_told_at_most_five_times_a_second(autojump_clock: trio.testing.MockClock) -> None:
    async with control_plane() as world:
        plane: Plane = world.app.state.plane
        await world.node("n1")
        task = await world.task("n1")
        async with watched(world, f"tasks/{task}/events") as browser:
            browser.take(1_000)
            for _ in range(200):
                plane.watch.changed([task])
                await trio.sleep(0.01)
            await trio.sleep(1)
            assert 9 <= len(browser.taken) <= 12


async def test_the_stopping_server_cuts_a_stream_that_waits_for_its_reader() -> None:
    async with control_plane() as world:
        plane: Plane = world.app.state.plane
        await world.node("n1")
        task = await world.task("n1")
        async with watched(world, f"tasks/{task}/events") as browser:
            await trio.testing.wait_all_tasks_blocked()
            assert browser.offered == 1
            plane.watch.close()
            await trio.testing.wait_all_tasks_blocked()
            browser.take(1)
            await trio.testing.wait_all_tasks_blocked()
            assert (browser.taken, browser.ended) == ([b""], True)


async def test_a_reader_that_leaves_gives_its_place_back() -> None:
    async with control_plane() as world:
        plane: Plane = world.app.state.plane
        await world.node("n1")
        task = await world.task("n1")
        async with watched(world, f"tasks/{task}/output?node=n1") as browser:
            await trio.testing.wait_all_tasks_blocked()
            assert browser.status == 200
            browser.leave()
            browser.take(1)
        assert plane.watch._viewers == 0
        assert not plane.live._watchers


@pytest.mark.parametrize("path", ["events", "output?node=n1"])
async def test_an_operator_who_is_revoked_sees_no_more(path: str, autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        await world.node("n1")
        task = await world.task("n1")
        answer = await world.operator.post("/api/v1/operators", {"name": "second"})
        second = ("authorization", f"Bearer {answer.json()['token']}")
        async with (
            watched(world, f"tasks/{task}/{path}", second) as gone,
            watched(world, f"tasks/{task}/{path}") as here,
        ):
            for browser in (gone, here):
                browser.take(100)
            await trio.sleep(40)
            assert not gone.ended
            (await world.operator.post("/api/v1/operators/second/revoke", {})).raise_for_status()
            await trio.sleep(16)
            assert (gone.ended, here.ended) == (True, False)


@pytest.mark.parametrize("path", ["events", "output?node=n1"])
async def test_who_has_signed_out_sees_no_more(path: str, autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await world.node("n1")
        task = await world.task("n1")
        cookie = "; ".join(f"{name}={value}" for name, value in someone.client.cookies.items())
        async with watched(world, f"tasks/{task}/{path}", ("cookie", cookie)) as browser:
            browser.take(100)
            await trio.sleep(40)
            assert (browser.status, browser.ended) == (200, False)
            await someone.send((await someone.page("/nodes")).form("/logout"))
            await trio.sleep(16)
            assert browser.ended


async def test_asked_for_the_head_alone_a_stream_has_no_story() -> None:
    async with control_plane() as world:
        plane: Plane = world.app.state.plane
        await world.node("n1")
        task = await world.task("n1")
        for path in ("events", "output?node=n1"):
            with trio.fail_after(5):
                answer = await world.client.head(
                    f"/api/v1/tasks/{task}/{path}", headers={"authorization": f"Bearer {world.operator.token}"}
                )
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
        assert plane.watch._viewers == 0


async def test_what_cannot_be_followed() -> None:
    async with control_plane() as world:
        await world.node("n1")
        await world.node("n2")
        task = await world.task("n1")
        path = f"/api/v1/tasks/{task}"
        for status, text, target, query in (
            (404, "task task_x not found", "/api/v1/tasks/task_x/events", {}),
            (404, "task task_x not found", "/api/v1/tasks/task_x/output", {"node": "n1"}),
            (404, f"task {task} is not for node n2", f"{path}/output", {"node": "n2"}),
            (400, "node is required", f"{path}/output", {}),
            (400, "position must be a whole number", f"{path}/output", {"node": "n1", "position": "-1"}),
            (400, "position must be a whole number", f"{path}/output", {"node": "n1", "position": "9" * 16}),
        ):
            answer = await world.operator.get(target, **query)
            assert answer.status_code == status
            assert text in answer.json()["error"]["message"]
