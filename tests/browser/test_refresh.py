"""Parts of pages that are fetched anew, in Chromium: nothing slips from under the hands of who uses them."""

import pytest
from playwright.sync_api import Route, expect

from tests.rigs.browser import PASSWORD, Fleet, Watched

pytestmark = pytest.mark.needs_chromium


@pytest.mark.long
def test_the_focus_on_a_task_stays_on_it_when_newer_ones_come(watched: Watched, served: Fleet) -> None:
    page = watched.page
    for number in range(3):
        served.plane.create(served.site.node, f"echo task {number}")
    page.goto("/tasks")
    page.get_by_role("link", name="echo task 1", exact=True).focus()
    served.plane.create(served.site.node, "echo newer")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("link", name="echo newer", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="echo task 1", exact=True)).to_be_focused()
    expect(page.locator("#tasks tbody th a")).to_have_text(["echo newer", "echo task 2", "echo task 1", "echo task 0"])


@pytest.mark.long
def test_a_server_that_is_gone_is_asked_ever_more_rarely(watched: Watched, served: Fleet) -> None:
    page, asked = watched.page, list[str]()

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    page.clock.install()
    page.route("**/state?*", refuse)
    page.goto(f"/tasks/{served.plane.create(served.site.node, 'true')}")
    for _ in range(60):
        page.clock.run_for(1_000)
    assert 3 <= len(asked) <= 10
    watched.faults.clear()  # the console tells of each


@pytest.mark.long
def test_a_script_outlives_the_session_in_which_it_was_begun(watched: Watched, served: Fleet) -> None:
    page = watched.page
    page.goto(f"/tasks/new?node={served.site.node.id}")
    page.context.clear_cookies()
    page.get_by_label("Script").fill("echo begun before")
    expect(page.locator("#preview")).to_contain_text("You are signed out")
    other = page.context.new_page()
    other.goto("/login")
    other.get_by_label("Operator").fill(served.operator)
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url("**/nodes")
    page.get_by_label("Script").press_sequentially(" and after")
    expect(page.locator("#preview")).to_contain_text("not known")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_role("button", name="Send it all the same").click()
    page.wait_for_url("**/tasks/task_*")
    expect(page.locator("pre.script")).to_have_text("echo begun before and after")
    watched.faults.clear()  # the console tells of the form that was refused


SUBMIT_TWICE = """() => {
  let sent = 0;
  addEventListener("submit", (event) => {
    if (!event.defaultPrevented) sent += 1;
    event.preventDefault();
  });
  const form = document.getElementById("new-task");
  for (let times = 0; times < 2; times += 1) form.requestSubmit();
  return sent;
}"""


@pytest.mark.long
def test_a_second_click_sends_nothing_a_second_time(watched: Watched, served: Fleet) -> None:
    page = watched.page
    page.goto(f"/tasks/new?node={served.site.node.id}")
    page.get_by_label("Script").fill("echo sent once")
    page.wait_for_selector("html[data-script=on]")
    assert page.evaluate(SUBMIT_TWICE) == 1


PATCH = """async ([path, before, after]) => {
  const { takeOver } = await import(path);
  const read = (markup) => new DOMParser().parseFromString(markup, "text/html");
  const make = (rows) => read(`<ul id="list">${rows}</ul>`).getElementById("list");
  const old = document.body.appendChild(document.adoptNode(make(before)));
  const rows = new Map([...old.children].map((row) => [row.id, row]));
  const fresh = make(after);
  const wanted = fresh.outerHTML;
  takeOver(old, fresh);
  const kept = [...old.children].every((row) => !row.id || !rows.has(row.id) || rows.get(row.id) === row);
  const same = old.outerHTML === wanted;
  old.remove();
  return [kept, same];
}"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "a b"),
        ("a b", ""),
        ("a b c", "n a b c"),
        ("a b c", "c b a"),
        ("a b c", "b c d"),
        ("a - b -", "- b - a"),
        ("- - a", "a - b -"),
        ("a b c d", "d - a c"),
    ],
)
def test_rows_are_taken_over_in_any_order(watched: Watched, before: str, after: str) -> None:
    page = watched.page
    path = page.locator("script[src*='page.js']").get_attribute("src")
    assert path is not None

    def markup(rows: str) -> str:
        return " ".join(f"<li>{rows}</li>" if row == "-" else f'<li id="{row}">{rows}</li>' for row in rows.split())

    patch = path.replace("page.js", "patch.js")
    assert page.evaluate(PATCH, [patch, markup(before), markup(after)]) == [True, True]
