"""Pages for everybody: names of controls, headings, contrast in both schemes, keys alone, and narrow screens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.rigs import page_audit
from tests.rigs.browser import Fleet, fleet, signed_in
from tests.rigs.demo_fleet import FAN_OUT, prepare

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

PAGES: Final = (
    *("/nodes", "/nodes/web-1?range=24h", "/nodes/edge-sto?range=7d", "/nodes/edge-sin", "/nodes/lab-7"),
    *("/tasks", "/tasks?outcome=lost", "/tasks/new", "/tasks/new?node=db-1", "/usage", "/usage?node=edge-sto"),
    *("/usage?user=chen", "/audit?q=task.", "/audit?q=nobody", "/enrol", "/password"),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), prepare=prepare) as running:
        yield running


@pytest.fixture(scope="module")
def paths(served: Fleet) -> tuple[str, ...]:
    """Every page, that of each task included."""
    with served.server.client(served.token) as operator:
        tasks = operator.get("/api/v1/tasks").json()["tasks"]
    return (*PAGES, *(f"/tasks/{task['id']}" for task in tasks))


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_say_what_is_on_them_and_can_be_read(
    browser: Browser, served: Fleet, paths: tuple[str, ...], scheme: Literal["light", "dark"]
) -> None:
    with signed_in(browser, served, scheme=scheme) as watched:
        wrong = {path: page_audit.faults(watched.page, path) for path in paths}
        watched.page.get_by_role("button", name="Sign out").click()
        watched.page.wait_for_url("**/login")
        wrong["/login"] = page_audit.faults(watched.page, "/login")
    assert not {path: faults for path, faults in wrong.items() if faults}


@pytest.mark.long
def test_pages_fit_a_narrow_screen(browser: Browser, served: Fleet, paths: tuple[str, ...]) -> None:
    with signed_in(browser, served, width=360, height=740) as watched:
        wrong = {path: page_audit.faults(watched.page, path) for path in paths}
    assert not {path: faults for path, faults in wrong.items() if faults}


@pytest.mark.long
@pytest.mark.parametrize(
    "path", ["/nodes", "/nodes/web-1", "/tasks", "/tasks/new", "/usage", "/audit?q=cancel", "/enrol", "/password"]
)
def test_the_tab_key_leads_to_every_control_and_shows_where_it_is(at_the_page: Page, path: str) -> None:
    at_the_page.goto(path)
    assert not page_audit.unreached(at_the_page)


@pytest.mark.long
def test_the_tab_key_leads_through_a_task(at_the_page: Page) -> None:
    at_the_page.goto("/tasks")
    at_the_page.get_by_role("link", name=FAN_OUT).click()
    at_the_page.get_by_text("This is the whole output").wait_for()
    assert not page_audit.unreached(at_the_page)


@pytest.fixture(scope="module")
def at_the_page(browser: Browser, served: Fleet) -> Iterator[Page]:
    with signed_in(browser, served) as watched:
        yield watched.page


FAULTY: Final = """<html lang=en><title>t</title><main><h1>A</h1><h3 id=a>B</h3><p id=a style="color: #aaa">pale</p>
    <input placeholder=name><button></button><label for=nothing>L</label><table><tr><td>1</table>
    <p style="opacity: 0.4">faint</p><p style="width: 3000px">wide</p>
    <svg><text y=9 fill=#ccc>drawn</text></svg></main>"""


def test_faults_are_found(browser: Browser) -> None:
    """A measure that finds nothing anywhere would say nothing about the pages."""
    page = browser.new_page()
    page.set_content(FAULTY)
    found = "\n".join(page_audit.faults_here(page))
    page.close()
    for fault in ("no label", "no name", "a level is left out", "more than once", "leads nowhere", "without heads"):
        assert fault in found
    for text in ("pale", "faint", "drawn"):
        assert any(line.startswith("contrast") and text in line for line in found.splitlines())
    assert "px too wide" in found


def test_the_pictures_are_small_and_there_in_both_schemes() -> None:
    place = Path(__file__).parents[2] / "docs" / "screenshots"
    light, dark = (
        {path.name.replace(scheme, "") for path in place.glob(f"*-{scheme}.png")} for scheme in ("light", "dark")
    )
    assert light == dark
    assert len(light) >= 12
    assert max(path.stat().st_size for path in place.iterdir()) <= 150 * 1024
