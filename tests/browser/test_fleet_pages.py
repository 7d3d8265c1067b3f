"""The pages of the fleet in Chromium: a node enrolled by the command that is shown, charts, usage, texts that mean
harm, narrow screens, and keys alone."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.rigs.browser import Fleet, Watched, signed_in
from tests.rigs.real_processes import COMMAND, wait_until
from tests.rigs.steered_plane import Node

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

MARKUP = "<img src=/x onerror=alert(1)><script>alert(2)</script>\"'></title></svg>\u202e\x1b]52;c;aGk=\x07{{7*7}}"
PAGES = (
    "/nodes",
    "/nodes/hostile",
    "/nodes/hostile?range=7d",
    "/usage",
    "/usage?node=hostile",
    "/audit",
    "/enrol",
    "/password",
)


@contextmanager
def typed(command: str, place: Path) -> Iterator[None]:
    """Types the command into a shell on the node, with the flags of a test behind it."""
    flags = f" --state-dir {place}/state -task-work-root {place}/work -interval 1s"
    environment = {**os.environ, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    words = ["sh", "-c", f"{command.rstrip()}{flags}"]
    shell = subprocess.Popen(words, cwd=place, env=environment, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(20)


def look_again(page: Page) -> None:
    """As if the tab had just been brought to the front: the page looks at once, and not in up to ten seconds."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.mark.long
def test_a_node_is_enrolled_by_the_command_that_is_shown(watched: Watched, served: Fleet, tmp_path: Path) -> None:
    page = watched.page
    page.get_by_role("link", name="Add a node").click()
    page.get_by_label("Id").fill("enrolled")
    page.get_by_label("Tags").fill("web eu-west")
    page.get_by_role("button", name="Add the node").click()
    command = page.locator("#command").inner_text()
    assert "lattice-agent -server" in command
    page.get_by_role("link", name="Nodes", exact=True).click()
    row = page.locator("#node-enrolled")
    expect(row).to_contain_text("never seen")
    with typed(command, tmp_path):
        wait_until(lambda: served.plane.node(Node("enrolled", ""))["online"], "the enrolled node")
        look_again(page)
        expect(row).to_contain_text("online")
        row.get_by_role("link", name="enrolled").click()
        expect(page.get_by_role("img", name="CPU")).to_be_visible()
        expect(page.get_by_role("img", name="Network")).to_be_visible()
    assert not watched.dialogs


@pytest.mark.long
def test_tags_and_drain_are_changed_and_found(watched: Watched, served: Fleet) -> None:
    page = watched.page
    node_id = served.site.node.id
    page.goto(f"/nodes/{node_id}")
    page.get_by_label("Tags, separated by spaces").fill("red blue")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Drain").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("draining")
    page.get_by_role("button", name="Take tasks again").click()
    page.get_by_role("link", name="blue").click()
    page.wait_for_url("**/nodes?tag=blue")
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.mark.long
def test_a_table_is_refreshed_without_losing_what_is_being_read(watched: Watched, served: Fleet) -> None:
    page = watched.page
    hostile(served)
    page.goto("/nodes")
    page.locator("#node-hostile details").first.locator("summary").click()
    link = page.locator("#node-hostile th a")
    link.focus()
    with served.server.client(served.token) as operator:
        operator.post("/api/v1/nodes/hostile/drain", json={"draining": True}).raise_for_status()
    look_again(page)
    expect(page.locator("#node-hostile")).to_contain_text("draining")
    expect(page.locator("#node-hostile details").first).to_have_attribute("open", "")
    expect(link).to_be_focused()


def hostile(served: Fleet) -> None:
    """A node, a user and traffic whose every text is markup; again is no change."""
    with served.server.client(served.token) as operator:
        answer = operator.post("/api/v1/nodes", json={"id": "hostile", "name": MARKUP})
        if answer.status_code == 409:
            return
        operator.put("/api/v1/nodes/hostile/profile", json={}).raise_for_status()
        operator.post("/api/v1/users", json={"id": "u:1", "name": MARKUP, "quota_bytes": 2**20}).raise_for_status()
    with served.server.client(answer.json()["token"]) as node:
        beat(node)
        report(node, collector_status="ok", core_uptime_sec=100, user_bytes={"u:1": 0})
        report(node, collector_status="ok", core_uptime_sec=200, user_bytes={"u:1": 900_000})
        report(node, collector_status="error", collector_error=MARKUP)


def beat(node: httpx.Client) -> None:
    texts = ("hostname", "os", "platform", "platform_version", "kernel_version", "arch", "cpu_model", "virtualization")
    runtime = {
        "allow_exec": True,
        "task_sandbox": MARKUP,
        "task_sandbox_warning": MARKUP,
        "task_sandbox_features": [MARKUP],
    }
    policy = {
        "allow_exec": True,
        "refusal": MARKUP,
        "levels": [MARKUP],
        "default_level": MARKUP,
        "interpreters": [MARKUP],
    }
    body: dict[str, Any] = {
        "version": MARKUP,
        "host_facts": dict.fromkeys(texts, MARKUP),
        "agent_runtime": runtime,
        "policy": policy,
        "metrics": {"cpu_percent": 50, "load1": 1e300, "memory_used": 2**40, "memory_total": 1, "net_rx_speed": -5},
    }
    node.post("/api/agent/metrics", json={"node_id": "hostile", **body}).raise_for_status()
    inventory = {"cpu": {"model": MARKUP}, "disks": [{"name": MARKUP, "model": MARKUP}]}
    node.post("/api/agent/inventory", json={"node_id": "hostile", "inventory": inventory}).raise_for_status()
    event = {"node_id": "hostile", "kind": MARKUP, "message": MARKUP}
    node.post("/api/agent/event", json=event).raise_for_status()


def report(node: httpx.Client, **snapshot: Any) -> None:
    body = {"node_id": "hostile", "snapshot": {"collector_source": "xray_api", **snapshot}}
    node.post("/api/agent/proxy-usage", json=body).raise_for_status()


@pytest.mark.long
def test_usage_after_traffic(watched: Watched, served: Fleet) -> None:
    hostile(served)
    page = watched.page
    page.goto("/usage")
    expect(page.locator("main")).to_contain_text("878.9 KiB of 1.0 MiB, 85 %")
    expect(page.get_by_role("img", name="The last 30 days")).to_be_visible()
    assert (
        page.locator("rect.bar").evaluate_all("bars => bars.filter(bar => bar.height.baseVal.value > 50).length") == 2
    )


@pytest.mark.long
def test_texts_that_mean_harm_do_nothing(watched: Watched, served: Fleet) -> None:
    hostile(served)
    page = watched.page
    for path in PAGES:
        page.goto(path)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.locator("main img, main script, main iframe").count() == 0
        if path.startswith("/nodes"):
            expect(page.locator("main")).to_contain_text("<script>alert(2)</script>")
            expect(page.locator("main")).to_contain_text("{{7*7}}")
    assert not watched.dialogs


# One sign-in for all pages: an address may not try too often.
@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_narrow_screen(browser: Browser, served: Fleet, scheme: Literal["light", "dark"]) -> None:
    hostile(served)
    with signed_in(browser, served, width=360, height=740, scheme=scheme) as watched:
        for path in PAGES:
            watched.page.goto(path)
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_the_fleet_without_scripts(browser: Browser, served: Fleet) -> None:
    with signed_in(browser, served, scripts=False) as watched:
        page = watched.page
        page.get_by_label("Find").fill(served.site.node.id)
        page.get_by_role("button", name="Show", exact=True).click()
        page.get_by_role("link", name=served.site.node.id).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(served.site.node.id)
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")


@pytest.mark.long
def test_keys_alone_lead_past_the_head_and_to_a_node(watched: Watched, served: Fleet) -> None:
    page = watched.page
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    expect(page.get_by_text("Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.closest('tbody') ? document.activeElement.textContent : ''")
        if focused:
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/*")


@pytest.mark.long
def test_a_link_of_another_site_leads_to_the_page(watched: Watched, served: Fleet) -> None:
    page = watched.page
    page.goto("data:text/html,<title>another site</title>")
    page.set_content(f'<a href="{served.server.url}/audit?q=login">over there</a>')
    page.get_by_role("link", name="over there").click()
    page.wait_for_url("**/audit?q=login")
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit")
