"""The pages of tasks in Chromium, at a real control plane with a real agent: watching output, cancelling, and output
and texts that mean harm."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.rigs.browser import Fleet, Watched, fleet, server, signed_in
from tests.rigs.hostile_output import CORPUS, MARKER
from tests.rigs.real_processes import RunningAgent, reserved_port

pytestmark = pytest.mark.needs_chromium

MARKUP = "<img src=/x onerror=alert(1)><script>alert(2)</script>\"'></textarea></title>\u202e\x1b]52;c;aGk=\x07"


@pytest.fixture(scope="module")
def agent(served: Fleet) -> Iterator[RunningAgent]:
    with served.site.agent() as running:
        served.wait_policy()
        yield running


def send(page: Page, served: Fleet, script: str) -> None:
    """Writes a task for the node, waits for what the node would say, and sends it."""
    page.goto("/tasks/new")
    page.get_by_label(served.site.node.id).check()
    page.get_by_label("Script").fill(script)
    page.get_by_text("would run").wait_for()
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url("**/tasks/task_*")


def log(page: Page) -> str:
    text: str = page.locator(".log").inner_text()
    return text


def verdict(page: Page) -> str:
    return " ".join(page.locator("#task-state .verdict").inner_text().split())


@pytest.mark.slow
def test_output_arrives_before_the_task_has_ended(
    watched: Watched, served: Fleet, agent: RunningAgent, tmp_path: Path
) -> None:
    page, gate = watched.page, served.site.gate("output")
    send(page, served, f"printf '\\033[32mgreen\\033[0m plain'; {gate.wait}; echo; echo late >&2; exit 3")
    expect(page.locator(".log .f2")).to_have_text("green")
    expect(page.locator("#task-state .verdict")).to_contain_text("running")
    assert "late" not in log(page)
    gate.open()
    expect(page.locator("#task-state .verdict")).to_contain_text("failed")
    assert verdict(page).endswith("failed exit code 3")
    expect(page.locator(".log .stderr")).to_contain_text("late")
    expect(page.locator("[data-part=state]")).to_have_text("Ended, failed: exit code 3. This is the whole output.")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download stdout").click()
    kept = tmp_path / "stdout"
    download.value.save_as(kept)
    assert kept.read_bytes() == b"\x1b[32mgreen\x1b[0m plain\n"


@pytest.mark.long
def test_a_task_is_cancelled_and_the_node_confirms(watched: Watched, served: Fleet, agent: RunningAgent) -> None:
    page = watched.page
    send(page, served, "echo started; sleep 300 & wait")
    expect(page.locator(".log")).to_contain_text("started")
    page.get_by_text("Cancel…").click()
    expect(page.get_by_text("what runs is told to end (SIGTERM)")).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("#task-state .verdict")).to_contain_text("cancelled")
    assert f"by {served.operator} after" in verdict(page)
    expect(page.locator(".timeline")).to_contain_text("cancel requested")
    assert not watched.dialogs


def printing(output: bytes) -> str:
    """A script that writes these bytes."""
    return f"base64 -d <<'EOF'\n{base64.b64encode(output).decode()}\nEOF\n"


@pytest.mark.long
def test_hostile_output_does_nothing_but_stand_there(watched: Watched, served: Fleet, agent: RunningAgent) -> None:
    page = watched.page
    printed = {name: served.plane.create(served.site.node, printing(output)) for name, output in CORPUS.items()}
    for name, task_id in printed.items():
        page.goto(f"/tasks/{task_id}")
        expect(page.locator("[data-part=state]"), name).to_contain_text("This is the whole output")
        expect(page.locator(".log"), name).to_contain_text(MARKER)
        names = page.locator(".log").evaluate(
            "log => [...new Set([...log.querySelectorAll('*')].map(e => e.nodeName))]"
        )
        assert set(names) <= {"DIV", "SPAN"}, name
        assert page.evaluate("6 * 7") == 42, name
    assert not watched.dialogs


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("head -c 200000 /dev/zero | tr '\\0' x; echo; echo THE-END", "THE-END"),
        ("head -c 10485760 /dev/zero | tr '\\0' x; echo THE-END >&2", "THE-END"),
        ("yes '' | head -n 100000; echo THE-END", "THE-END"),
        ("yes $(printf '\\033[31mx\\033[32my') | head -c 10485760; echo THE-END >&2", "THE-END"),
    ],
    ids=["200,000 characters in a line", "10 MiB without a line feed", "100,000 lines", "10 MiB of colours"],
)
def test_long_output_leaves_the_page_alive(
    watched: Watched, served: Fleet, agent: RunningAgent, script: str, end: str
) -> None:
    page = watched.page
    task_id = served.plane.create(served.site.node, script, output_limit=262_144)
    page.goto(f"/tasks/{task_id}")
    expect(page.locator(".log")).to_contain_text(end)
    assert page.evaluate("document.querySelectorAll('*').length") < 30_000
    page.get_by_role("link", name="Edit as a new task").click()
    page.wait_for_url("**/tasks/new?like=*")


@pytest.mark.long
def test_markup_in_what_scripts_and_operators_write_stays_text(
    watched: Watched, served: Fleet, agent: RunningAgent
) -> None:
    page = watched.page
    script = f": {MARKUP.replace(chr(27), '').replace(chr(7), '')}\nprintf '%s' \"$0\" '{MARKUP[:40]}' >&2\nexit 1\n"
    task_id = served.plane.create(served.site.node, f"cat <<'EOF'\n{script}EOF\nexit 1\n")
    served.plane.result(task_id)
    for path in (f"/tasks/{task_id}", "/tasks", f"/tasks/new?like={task_id}", f"/tasks/new?node={MARKUP[:40]}"):
        page.goto(path)
        assert page.locator("img, main script").count() == 0, path
    page.goto(f"/tasks/{task_id}")
    expect(page.locator(".log")).to_contain_text("<img src=/x onerror=alert(1)>")
    assert page.get_by_text("<script>alert(2)</script>").count() > 0
    assert not watched.dialogs


@pytest.mark.long
def test_following_stops_when_one_scrolls_up_and_goes_on_at_a_key(
    watched: Watched, served: Fleet, agent: RunningAgent
) -> None:
    page, gate = watched.page, served.site.gate("scroll")
    send(page, served, f"seq 1 500; {gate.wait}; seq 501 510")
    box, button = page.locator(".log"), page.locator("[data-part=follow]")
    expect(box).to_contain_text("500")
    expect(button).to_have_text("Pause")
    box.hover()
    page.mouse.wheel(0, -2_000)
    expect(button).to_have_text("Follow")
    box.press("f")
    expect(button).to_have_text("Pause")
    page.wait_for_function(
        "log = document.querySelector('.log'), log.scrollTop + log.clientHeight >= log.scrollHeight - 2"
    )
    gate.open()
    expect(page.locator("#task-state .verdict")).to_contain_text("succeeded")


@pytest.mark.long
def test_a_tab_in_the_background_holds_no_connection_and_misses_nothing(
    watched: Watched, served: Fleet, agent: RunningAgent
) -> None:
    page, gates = watched.page, [served.site.gate(f"hidden-{number}") for number in range(2)]
    page.add_init_script(
        """const Plain = EventSource;
        window.sources = [];
        window.EventSource = class extends Plain {
            constructor(address) { super(address); sources.push(this); }
        };"""
    )
    send(page, served, f"echo 'äö 1'; {gates[0].wait}; echo 2; echo more >&2; {gates[1].wait}; echo 3")
    expect(page.locator(".log .text")).to_have_text(["äö 1"])
    show_tab(page, "hidden")
    assert page.evaluate("sources.length > 0 && sources.every(source => source.readyState === EventSource.CLOSED)")
    gates[0].open()
    show_tab(page, "visible")
    # The order of the two streams is the one in which the node read them.
    expect(page.locator(".log .stdout .text")).to_have_text(["äö 1", "2"])
    expect(page.locator(".log .stderr .text")).to_have_text(["more"])
    gates[1].open()
    expect(page.locator(".log .text")).to_have_text(["äö 1", "2", "3", "more"])


@pytest.mark.long
def test_a_line_goes_on_although_its_beginning_is_no_longer_shown(
    watched: Watched, served: Fleet, agent: RunningAgent
) -> None:
    page, gates = watched.page, [served.site.gate(f"dropped-{number}") for number in range(3)]
    waits = [gate.wait for gate in gates]
    send(page, served, f"printf begun; {waits[0]}; seq 1 9000 >&2; {waits[1]}; echo , done; {waits[2]}")
    expect(page.locator(".log .text")).to_have_text(["begun"])
    gates[0].open()  # only now: of two streams nothing says which comes first
    expect(page.locator(".log .text").last).to_have_text("9000")
    expect(page.locator("[data-part=dropped]")).to_contain_text("earlier lines are not shown here")
    gates[1].open()
    expect(page.locator(".log .stdout .text")).to_have_text(["begun, done"])
    gates[2].open()
    expect(page.locator("#task-state .verdict")).to_contain_text("succeeded")


@pytest.mark.long
def test_a_page_goes_on_when_the_server_was_started_anew(browser: Browser, tmp_path: Path) -> None:
    with reserved_port() as port, fleet(tmp_path, port) as served, served.site.agent():
        served.wait_policy()
        with signed_in(browser, served) as watched:
            page, gates = watched.page, [served.site.gate(f"restart-{number}") for number in range(2)]
            send(page, served, f"echo before; {gates[0].wait}; echo after; {gates[1].wait}; echo last")
            expect(page.locator(".log .text")).to_have_text(["before"])
            served.server.process.kill()
            expect(page.locator("[data-part=state]")).to_contain_text("The connection was lost")
            gates[0].open()
            served.server.wait()
            with server(tmp_path, port):
                expect(page.locator(".log .text")).to_have_text(["before", "after"])
                gates[1].open()
                expect(page.locator("#task-state .verdict")).to_contain_text("succeeded")
                expect(page.locator(".log .text")).to_have_text(["before", "after", "last"])
            watched.faults[:] = [fault for fault in watched.faults if "net::ERR_" not in fault]


def show_tab(page: Page, state: str) -> None:
    """As the browser does when another tab is chosen."""
    page.evaluate(
        """state => {
            Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


@pytest.mark.long
def test_a_node_that_would_refuse_is_seen_before_anything_is_sent(
    watched: Watched, served: Fleet, agent: RunningAgent
) -> None:
    page = watched.page
    page.goto("/tasks/new")
    page.get_by_label(served.site.node.id).check()
    page.get_by_label("Script").fill("# lattice: level=wherever\necho hello\n")
    expect(page.locator("#preview")).to_contain_text("would refuse")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#preview")).to_contain_text("It was not sent")
    page.get_by_role("button", name="Send it all the same").click()
    page.wait_for_url("**/tasks/task_*")
    expect(page.locator("#task-state .verdict")).to_contain_text("refused")
    expect(page.locator("#task-state .verdict")).to_contain_text("by the node")


def test_tab_indents_and_escape_lets_one_leave(watched: Watched) -> None:
    page = watched.page
    page.goto("/tasks/new")
    editor = page.get_by_label("Script")
    editor.press_sequentially("if true\n")
    editor.press("Tab")
    assert editor.input_value() == "if true\n\t"
    editor.press("Escape")
    editor.press("Tab")
    expect(page.get_by_label("Interpreter")).to_be_focused()
    editor.press("Shift+Tab")
    expect(editor).not_to_be_focused()


@pytest.mark.long
def test_everything_but_following_works_without_scripts(browser: Browser, served: Fleet, agent: RunningAgent) -> None:
    with signed_in(browser, served, scripts=False) as at_the_page:
        page = at_the_page.page
        page.goto("/tasks/new")
        page.get_by_label(served.site.node.id).check()
        page.get_by_label("Script").fill("echo plain")
        page.get_by_role("button", name="Look first").click()
        page.get_by_text("would run").wait_for()
        page.get_by_role("button", name="Send", exact=True).click()
        page.wait_for_url("**/tasks/task_*")
        served.plane.result(page.url.rpartition("/")[2])
        page.reload()
        assert verdict(page).endswith("succeeded")
        assert "plain" in log(page)
