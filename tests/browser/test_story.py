"""One operator's day: from the first password to signing out, with a server, agents and a browser as they are run."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Locator, Page, expect

from lattice_agent.wire.metrics import Metrics
from server_stub.actions.metrics import take_metrics
from server_stub.actions.registry import add_node
from server_stub.bootstrap import write_init_token
from server_stub.config import Limits
from server_stub.ids import new_node_token
from server_stub.rules.metric_history import WINDOWS
from server_stub.store.base import Tables
from server_stub.store.sqlite import SqliteStore
from tests.hostile.rig import alive
from tests.rigs.browser import PASSWORD, Watched, chromium
from tests.rigs.real_processes import COMMAND, Gate, wait_until
from tests.rigs.server_process import Running, started
from tests.rigs.steered_plane import LIMIT_S

pytestmark = [pytest.mark.needs_chromium, pytest.mark.long]

CONTROL: Final = COMMAND.with_name("lattice-control")
OLD, NEW = "veteran", "newcomer"
"""A node that was there for a week, and one that the operator adds."""
CHARTS: Final = ("CPU", "Load", "Memory", "Disk", "Network")


@dataclass(frozen=True)
class Place:
    """Where everything of the story is kept."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "control.db"

    @property
    def token(self) -> str:
        return (self.path / "operator-token").read_text().strip()

    def gate(self, name: str) -> Gate:
        return Gate(self.path / f"gate-{name}")

    def write_usage(self, node_id: str, uptime_s: int, **users: int) -> None:
        """What the core beside the node's agent has counted."""
        fresh = self.path / f"{node_id}.json.new"
        fresh.write_text(json.dumps({"core_uptime_sec": uptime_s, "user_bytes": users}))
        fresh.replace(self.path / f"{node_id}.json")

    def control(self, url: str, *words: str, stdin: str = "") -> str:
        """What ``lattice-control`` says."""
        environment = {**os.environ, "LATTICE_CONTROL_SERVER": url, "LATTICE_CONTROL_TOKEN": self.token}
        command: list[str | Path] = [CONTROL, *words]
        done = subprocess.run(
            command, input=stdin, env=environment, text=True, capture_output=True, timeout=LIMIT_S, check=True
        )
        return done.stdout

    def policy_of(self, url: str, node_id: str) -> object:
        """As the node has told it; nothing before its second heartbeat."""
        return json.loads(self.control(url, "node", "show", node_id, "--json"))["node"]["policy"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """With a week of one node's metrics: nobody waits for them."""
    made = Place(tmp_path)
    with closing(SqliteStore(str(made.database))) as store:
        write_init_token(store, str(tmp_path / "operator-token"))
        store.write(lambda tables: remember_a_week(tables, datetime.now(UTC)))
    return made


def remember_a_week(tables: Tables, now: datetime) -> None:
    begun = now - timedelta(days=7)
    add_node(tables, "bootstrap", OLD, "", new_node_token(), begun, Limits().nodes)
    minutes = [*range(7 * 24 * 60, 60, -10), *range(60, 0, -1)]
    for ago in minutes:
        metrics = Metrics(cpu_percent=ago % 90, load1=ago % 5, memory_used=2**30, disk_used=2**33, net_rx_speed=1e5)
        take_metrics(tables, OLD, metrics, now - timedelta(minutes=ago))


@pytest.fixture
def server(place: Place) -> Iterator[Running]:
    words = ["serve", "--db", str(place.database), "--listen", "127.0.0.1:0"]
    with started([str(CONTROL), *words]) as running:
        yield running


@pytest.fixture
def watched(server: Running) -> Iterator[Watched]:
    with chromium() as browser:
        context = browser.new_context(base_url=server.url, viewport={"width": 1200, "height": 900})
        context.set_default_timeout(LIMIT_S * 1_000)
        at_the_page = Watched(context.new_page(), server.url)
        at_the_page.watch()
        yield at_the_page
        context.close()
    assert not at_the_page.faults
    assert not at_the_page.dialogs


def test_one_operators_day(place: Place, server: Running, watched: Watched) -> None:
    page = watched.page
    place.control(server.url, "operator", "password", "admin", "--password-file", password_file(place))
    sign_in_with_keys_alone(watched)
    commands = command_for_a_new_node(page), command_for_a_new_token(watched)
    count_usage(place, server.url)
    with typed(place, NEW, commands[0]), typed(place, OLD, commands[1]):
        for node_id in (NEW, OLD):
            page.goto("/nodes")
            expect_soon(page, page.locator(f"#node-{node_id}"), "online")
            wait_until(partial(place.policy_of, server.url, node_id), "what its owner allows: the preview judges by it")
        see_output_before_the_end(page, place)
        cancel_and_see_it_confirmed(page)
        do_again_where_it_failed(page, place)
        look_at_charts(page)
        see_traffic(page, place)
    find_in_the_audit(page)
    sign_out_for_good(page)


def password_file(place: Place) -> str:
    file = place.path / "password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD)
    return str(file)


def sign_in_with_keys_alone(watched: Watched) -> None:
    """First with a wrong password; then the page is the one that was asked for."""
    page = watched.page
    page.goto("/audit?q=admin")
    page.wait_for_url("**/login?*")
    for password in ("correct horse batteries", PASSWORD):
        expect(page.get_by_label("Operator")).to_be_focused()
        page.keyboard.type("admin")
        page.keyboard.press("Tab")
        page.keyboard.type(password)
        page.keyboard.press("Enter")
        if password != PASSWORD:
            expect(page.get_by_role("alert")).to_be_visible()
            assert "status of 401" in watched.faults.pop()
    page.wait_for_url("**/audit?q=admin")


def command_for_a_new_node(page: Page) -> str:
    page.goto("/enrol")
    page.get_by_label("Id").fill(NEW)
    page.get_by_role("button", name="Add the node").click()
    return page.locator("#command").inner_text()


def command_for_a_new_token(watched: Watched) -> str:
    page = watched.page
    page.goto(f"/nodes/{OLD}")
    page.get_by_role("button", name="New token").click()
    command = page.locator("#command").inner_text()
    assert watched.dialogs.pop().startswith("The old token is refused at once")
    return command


@contextmanager
def typed(place: Place, node_id: str, command: str) -> Iterator[None]:
    """The command in a shell on the node, letter for letter. How the node is set up beyond it is in its file."""
    home = place.path / node_id
    home.mkdir()
    settings = home / "agent.toml"
    settings.write_text(
        f"""[report]\ninterval_s = 1.0\npoll_idle_s = 0.2\npoll_busy_s = 0.2\n
            [exec]\nallow_exec = true\nallow_root_exec = true\nwork_root = "{home}/work"\n
            [state]\ndir = "{home}/state"\n"""
        + (f'[usage]\nfile = "{place.path}/{node_id}.json"\nread_interval_s = 0.2\n' if node_id == NEW else "")
    )
    settings.chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LATTICE_")}
    environment |= {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "LATTICE_CONFIG": str(settings)}
    with (home / "log").open("wb") as log:
        words = ["sh", "-c", command]
        shell = subprocess.Popen(
            words, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True, umask=0o022
        )
    try:
        yield
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(LIMIT_S)
        wait_until(lambda: not any(map(alive, group(shell.pid))), "the end of what the command started")


def group(leader: int) -> Iterator[int]:
    """The processes of its group."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getpgid(int(entry.name)) == leader:
                yield int(entry.name)


def expect_soon(page: Page, part: Locator, text: str) -> None:
    """As if the tab had been brought to the front again and again: the page looks by itself every few seconds only."""

    def look() -> bool:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        return text in part.inner_text()

    wait_until(look, f"{text!r} at {part}")


def send(page: Page, script: str, *node_ids: str) -> None:
    page.goto("/tasks/new")
    for node_id in node_ids:
        page.get_by_label(node_id).check()
    page.get_by_label("Script").fill(script)
    expect(page.locator("#preview").get_by_text("would run")).to_have_count(len(node_ids))
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url("**/tasks/task_*")


def verdict(page: Page) -> Locator:
    return page.locator("#task-state .verdict")


def see_output_before_the_end(page: Page, place: Place) -> None:
    gate = place.gate("story")
    send(page, f"echo begun; {gate.wait}; echo 'the end'", NEW)
    expect(page.locator(".log")).to_contain_text("begun")
    expect(verdict(page)).to_contain_text("running")
    assert "the end" not in page.locator(".log").inner_text()
    gate.open()
    expect(page.locator(".log")).to_contain_text("the end")
    expect(verdict(page)).to_contain_text("succeeded")


def cancel_and_see_it_confirmed(page: Page) -> None:
    """Something of it ignores SIGTERM, and is killed after the grace."""
    send(page, "(trap '' TERM; echo stubborn; while :; do sleep 0.1; done) & wait", NEW)
    expect(page.locator(".log")).to_contain_text("stubborn")
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator(".timeline")).to_contain_text("cancel requested")
    expect(verdict(page)).to_contain_text("cancelled")
    told = " ".join(verdict(page).inner_text().split())
    assert re.search(r"by admin after [0-9.]+ s; killed after a grace of [0-9.]+ s; \d+ process", told), told


def do_again_where_it_failed(page: Page, place: Place) -> None:
    """The first of the two nodes fails, and whoever comes later does not."""
    send(page, f"mkdir {place.path}/once 2>/dev/null && exit 3; echo fine", NEW, OLD)
    expect(verdict(page)).to_contain_text("2 of 2 nodes have ended")
    expect(verdict(page)).to_contain_text("1 succeeded")
    expect(verdict(page)).to_contain_text("1 failed")
    expect(page.locator(".targets")).to_contain_text("exit code 3")
    first = page.url
    page.get_by_role("button", name="Run again where it did not succeed (1)").click()
    page.wait_for_url(lambda url: "/tasks/task_" in url and url != first)
    expect(verdict(page)).to_contain_text("succeeded")
    expect(page.get_by_text("does task_")).to_be_visible()


def look_at_charts(page: Page) -> None:
    """As many points as the window has steps of which something is known."""
    for name, window in WINDOWS.items():
        page.goto(f"/nodes/{OLD}")
        page.get_by_role("link", name=name, exact=True).click()
        page.wait_for_url(f"**range={name}*")
        steps = window.length.total_seconds() / window.step.seconds
        for chart in CHARTS:
            drawn = page.get_by_role("img", name=chart).locator("path.line").first.get_attribute("d")
            assert drawn is not None
            points = len(re.findall("[ML]", drawn))
            assert 0.4 * steps <= points <= steps, f"{chart} has {points} points of {name}"


def count_usage(place: Place, url: str) -> None:
    """Before the agent reports for the first time: after a report that is refused it waits longer each time."""
    place.control(url, "profile", "set", NEW)
    place.control(url, "user", "add", "alice", "--quota", "10MiB")
    place.control(url, "user", "add", "bela")
    place.write_usage(NEW, 100, alice=0, bela=0)


def see_traffic(page: Page, place: Place) -> None:
    page.goto("/usage")
    reported = page.locator("tr", has=page.get_by_role("link", name=NEW))
    wait_until(lambda: page.reload() and "works" in reported.inner_text(), "the first report of usage")
    place.write_usage(NEW, 160, alice=9 * 2**20, bela=3 * 2**20)
    alice = page.locator("tr", has=page.get_by_role("link", name="alice"))
    wait_until(lambda: page.reload() and "9.0 MiB of 10.0 MiB, 90 %" in alice.inner_text(), "what alice has used")
    expect(page.locator("main")).to_contain_text("12.0 MiB in all")
    assert page.locator("rect.bar").evaluate_all("all => all.filter(one => one.height.baseVal.value > 50).length") == 2
    page.goto(f"/nodes/{NEW}")
    expect(page.get_by_role("row", name="bela")).to_contain_text("3.0 MiB")


def find_in_the_audit(page: Page) -> None:
    page.get_by_role("link", name="Audit").click()
    for words, found in (
        ("node.add", NEW),
        ("node.rotate", OLD),
        ("task.cancel", "allowed"),
        ("exit code 3", "task.result"),
        ("operator.login", "denied"),
        ("nobody has done this", "No event is like that"),
    ):
        page.get_by_label("Find").fill(words)
        page.get_by_role("button", name="Show", exact=True).click()
        page.wait_for_url("**/audit?q=*")
        expect(page.locator("main")).to_contain_text(found)


def sign_out_for_good(page: Page) -> None:
    page.get_by_role("link", name="Nodes", exact=True).click()
    expect(page.locator("main")).to_contain_text(NEW)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.go_back()
    page.wait_for_url("**/login*")
    assert NEW not in page.locator("body").inner_text()
    answer = page.request.get("/api/v1/tasks/task_x/events")
    assert answer.status == 401
