"""Signing in to the web page: who gets in, for how long, and what another site can do."""

import subprocess
import sys

import httpx
import pytest
import trio
from trio.testing import MockClock

from server_stub.actions.sessions import open_session
from server_stub.errors import Refused
from server_stub.rules.sessions import Session
from tests.rigs.dashboard import NAME, PASSWORD, Browser, Form, browser, log_in, set_password, signed_in
from tests.rigs.server_app import START, Caller, World, control_plane


async def is_in(someone: Browser) -> bool:
    return (await someone.get("/nodes")).status_code == 200


async def test_sign_in_and_out() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        page = await someone.page("/nodes")
        assert NAME in page.text
        assert (await someone.send(page.form("/logout"))).headers["location"] == "/login"
        assert not await is_in(someone)
        assert [event["action"] for event in await world.audit(limit="2")] == ["operator.logout", "operator.login"]


async def test_who_is_not_signed_in_comes_back_to_the_page_that_was_asked_for() -> None:
    async with control_plane() as world, browser(world) as someone:
        await set_password(world)
        answer = await someone.get("/nodes?q=a%26b&tag=x")
        form = (await someone.page(answer.headers["location"])).form("/login")
        answer = await someone.send(form, name=NAME, password=PASSWORD)
        assert answer.headers["location"] == "/nodes?q=a%26b&tag=x"


async def test_a_link_of_another_site_is_asked_for_again_and_only_once() -> None:
    async with control_plane() as world, browser(world) as someone:
        answer = await someone.client.get("/audit?q=%22%3E", headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 200
        assert '<meta http-equiv="refresh" content="0; url=/audit?q=%22%3E">' in answer.text
        again = await someone.client.get("/audit?q=%22%3E", headers={"sec-fetch-site": "same-origin"})
        assert again.headers["location"].startswith("/login?next=")


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/\t/x"]
)
async def test_no_sign_in_leads_elsewhere(elsewhere: str) -> None:
    async with control_plane() as world, browser(world) as someone:
        await set_password(world)
        form = (await someone.page("/login")).form("/login")
        answer = await someone.send(form, name=NAME, password=PASSWORD, next=elsewhere)
        assert answer.headers["location"] == "/nodes"


@pytest.mark.parametrize(
    ("name", "password"),
    [(NAME, "wrong"), (NAME, ""), ("nobody", PASSWORD), ("", ""), ("a" * 5_000, "b" * 5_000)],
)
async def test_one_answer_for_everything_that_is_wrong(name: str, password: str) -> None:
    async with control_plane() as world, browser(world) as someone:
        await set_password(world)
        answer = await log_in(someone, name, password)
        assert answer.status_code == 401
        assert "name or password is wrong" in answer.text
        assert not await is_in(someone)
        [event] = await world.audit(action="operator.login")
        assert (event["actor"], event["decision"], event["detail"]) == ("anonymous", "deny", {})


@pytest.mark.parametrize("size", [65_536, 2_000_000])
async def test_a_form_of_somebody_unknown_is_not_read_beyond_what_a_sign_in_needs(size: int) -> None:
    async with control_plane() as world, browser(world) as someone:
        await set_password(world)
        assert (await log_in(someone, NAME, "x" * size)).status_code == 400


async def test_each_of_several_tabs_can_sign_in() -> None:
    async with control_plane() as world, browser(world) as someone:
        await set_password(world)
        first, _second = [(await someone.page("/login")).form("/login") for _ in range(2)]
        assert (await someone.send(first, name=NAME, password="not this one")).status_code == 401
        assert (await someone.send(first, name=NAME, password=PASSWORD)).status_code == 303


async def test_an_operator_without_a_password_cannot_sign_in() -> None:
    async with control_plane() as world, browser(world) as someone:
        assert (await log_in(someone, password="")).status_code == 401
        await set_password(world)
        await set_password(world, password=None)
        assert (await log_in(someone)).status_code == 401


@pytest.mark.parametrize("password", ["short", "x" * 11, "x" * 1_025])
async def test_passwords_have_a_length(password: str) -> None:
    async with control_plane() as world:
        path = f"/api/v1/operators/{NAME}/password"
        answer = await world.operator.post(path, {"password": password})
        assert answer.status_code == 400
        assert password not in answer.text
        assert (await world.operator.post("/api/v1/operators/nobody/password", {"password": None})).status_code == 404
        assert (await Caller(world.client, "").post(path, {"password": None})).status_code == 401


async def test_the_database_knows_neither_password_nor_cookie() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        dump = "\n".join(world.store._connection.iterdump())
        [cookie] = list(someone.client.cookies.jar)
        assert cookie.value not in dump
        assert PASSWORD not in dump
        assert "$argon2id$v=19$m=19456,t=2,p=1$" in dump


async def test_the_cookie_is_for_this_site_alone() -> None:
    async with control_plane() as world, browser(world) as someone:
        await set_password(world)
        answer = await log_in(someone)
        cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith("lattice_session="))
        flags = {flag.strip().lower() for flag in cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/"} <= flags
        assert not any(flag.startswith("domain") for flag in flags)


async def age(hours: float) -> None:
    await trio.sleep(hours * 3_600)


async def test_a_session_that_is_not_used_ends(autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await age(11.9)
        assert await is_in(someone)
        await age(11.9)
        assert await is_in(someone)
        await age(12.1)
        assert not await is_in(someone)


async def test_a_session_that_is_used_ends_after_a_week(autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        for _ in range(14):
            await age(11.9)
            assert await is_in(someone)
        await age(1.5)
        assert not await is_in(someone)


async def test_the_oldest_of_too_many_sessions_ends(autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as first:
        for number in range(10):
            await age(0.1)
            async with browser(world, f"203.0.113.{number}") as another:
                await log_in(another)
                assert await is_in(another)
        assert not await is_in(first)


async def test_a_new_password_and_a_revocation_end_sessions() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        await set_password(world, password="another good one")
        assert not await is_in(someone)
        await log_in(someone, password="another good one")
        assert await is_in(someone)
        token = (await world.operator.post("/api/v1/operators", {"name": "other"})).json()["token"]
        await Caller(world.client, token).post(f"/api/v1/operators/{NAME}/revoke", {})
        assert not await is_in(someone)
        assert (await log_in(someone, password="another good one")).status_code == 401


async def test_a_sign_in_with_a_password_that_is_replaced_meanwhile_opens_no_session() -> None:
    async with control_plane() as world:
        await set_password(world)
        proven = world.store.read(lambda tables: tables.operators.password_hash(NAME))
        await set_password(world, password="another good one")
        session = Session(b"digest", NAME, "csrf", START, START)
        with pytest.raises(Refused, match="wrong"):
            world.store.write(lambda tables: open_session(tables, session, proven, "198.51.100.7"))
        assert world.store.read(lambda tables: tables.sessions.of(NAME)) == []


async def changed(someone: Browser, present: str, new: str, again: str) -> httpx.Response:
    form = (await someone.page("/password")).form("/password")
    return await someone.send(form, present=present, new=new, again=again)


async def test_an_operator_changes_its_own_password() -> None:
    async with control_plane() as world, signed_in(world) as someone, browser(world) as other:
        await log_in(other)
        new = "another good one"
        for given in (("wrong", new, new), (PASSWORD, new, new + "x"), (PASSWORD, "short", "short")):
            answer = await changed(someone, *given)
            assert answer.status_code in (400, 403)
            assert new not in answer.text
        assert await is_in(other)
        assert (await changed(someone, PASSWORD, new, new)).status_code == 200
        assert await is_in(someone)
        assert not await is_in(other)
        assert (await log_in(other)).status_code == 401
        assert (await log_in(other, password=new)).status_code == 303


@pytest.mark.long
async def test_the_present_password_is_not_guessed_from_an_open_session(autojump_clock: MockClock) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        new = "another good one"
        statuses = [(await changed(someone, "wrong", new, new)).status_code for _ in range(20)]
        assert statuses == [403] * 19 + [429]


async def tries(someone: Browser, count: int, name: str) -> list[int]:
    return [(await log_in(someone, name, "wrong")).status_code for _ in range(count)]


async def test_an_address_may_try_ten_times_then_once_in_six_seconds(autojump_clock: MockClock) -> None:
    async with control_plane() as world, browser(world) as someone:
        await set_password(world)
        assert await tries(someone, 10, NAME) == [401] * 10
        assert (await log_in(someone)).status_code == 429
        async with browser(world, "203.0.113.9") as elsewhere:
            assert (await log_in(elsewhere)).status_code == 303
        await trio.sleep(6)
        assert (await log_in(someone)).status_code == 303


@pytest.mark.long
async def test_a_name_may_be_tried_twenty_times_from_anywhere(autojump_clock: MockClock) -> None:
    async with control_plane() as world:
        statuses = []
        for number in range(3):
            async with browser(world, f"203.0.113.{number}") as someone:
                statuses += await tries(someone, 7, "victim")
        assert statuses == [401] * 20 + [429]


async def forged(someone: Browser, form: Form, headers: dict[str, str], **changes: str) -> int:
    answer = await someone.client.post(form.action, data=form.fields | changes, headers=headers)
    return answer.status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://control.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_a_form_of_another_site_is_refused_even_with_the_token(headers: dict[str, str]) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        out = (await someone.page("/nodes")).form("/logout")
        assert await forged(someone, out, headers) == 403
        assert await is_in(someone)
        async with browser(world) as nobody:
            form = (await nobody.page("/login")).form("/login")
            assert await forged(nobody, form, headers, name=NAME, password=PASSWORD) == 403


async def test_a_form_without_the_sessions_token_is_refused() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        out = (await someone.page("/nodes")).form("/logout")
        for token in ("", "x", out.fields["csrf"][:-1]):
            assert await forged(someone, out, {}, csrf=token) == 403
        assert await is_in(someone)
        async with browser(world) as nobody, browser(world) as attacker:
            theirs = (await attacker.page("/login")).form("/login")
            assert await forged(nobody, theirs, {}, name=NAME, password=PASSWORD) == 403
            await nobody.page("/login")
            assert await forged(nobody, theirs, {}, name=NAME, password=PASSWORD) == 403


async def test_of_the_api_the_cookie_opens_event_streams_alone() -> None:
    async with control_plane() as world, signed_in(world) as someone:
        stream = f"/api/v1/tasks/{await ended_task(world)}/events"
        assert (await someone.get(stream)).status_code == 200
        assert (await someone.client.get(stream, headers={"authorization": "Bearer wrong"})).status_code == 401
        assert (await someone.get("/api/v1/nodes")).status_code == 401
        assert (await someone.client.post("/api/v1/nodes", json={"id": "n2"})).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-site"}, 401),  # another port of the same host: SameSite lets the cookie pass
        ({"sec-fetch-site": "cross-site"}, 401),
        ({"sec-fetch-site": "none"}, 401),
        ({"origin": "http://control"}, 200),
        ({"origin": "http://control:3000"}, 401),
        ({"origin": "null"}, 401),
        ({"origin": "http://["}, 401),
    ],
)
async def test_event_streams_are_opened_by_pages_of_ours_alone(headers: dict[str, str], status: int) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        stream = f"/api/v1/tasks/{await ended_task(world)}/events"
        assert (await someone.client.get(stream, headers=headers)).status_code == status


async def ended_task(world: World) -> str:
    await world.node("n1")
    task = await world.task("n1")
    (await world.operator.post(f"/api/v1/tasks/{task}/cancel", {})).raise_for_status()
    return task


@pytest.mark.parametrize("path", ["/login", "/nodes"])
async def test_every_page_has_the_headers(path: str) -> None:
    async with control_plane() as world, signed_in(world) as someone:
        for answer in (await someone.get(path), await someone.get("/nodes/none")):
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"


async def test_static_files_are_kept_for_good_under_their_digest() -> None:
    async with control_plane() as world, browser(world) as someone:
        page = await someone.page("/login")
        found = [given["href"] for tag, given in page.elements if tag == "link"]
        found += [given["src"] for tag, given in page.elements if tag == "script"]
        assert len(found) == 3
        for path in found:
            answer = await someone.get(path)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
            older = await someone.get(path.replace(path.split("/")[2], "0" * 16))
            assert (older.status_code, older.headers["cache-control"]) == (200, "no-cache")
        assert (await someone.get("/static/x/..%2F..%2Fapp.py")).status_code == 404


@pytest.mark.long
def test_nothing_of_the_page_is_loaded_before_it_is_looked_at() -> None:
    code = "import sys, server_stub.app; print(sorted({'jinja2', 'argon2', 'markupsafe'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
