"""Markup in every text that a node, a script, a proxy or an address can bring into the page, sent as a node does.

Each text is made for its field and remembered: it must do nothing, and it must be read somewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from lattice_agent.wire.base import WireModel
from lattice_agent.wire.events import AgentEvent
from lattice_agent.wire.hello import Compatibility, Hello
from lattice_agent.wire.host_inventory import HostInventoryReport
from lattice_agent.wire.metrics import Heartbeat
from lattice_agent.wire.results import ResultReport, RunDetail, RunOutcome, TaskResult
from lattice_agent.wire.runtime import AgentRuntime
from lattice_agent.wire.tasks import LeasedTask
from lattice_agent.wire.usage import UsageReport, UsageSnapshot
from tests.rigs.browser import Fleet, fleet, signed_in
from tests.rigs.hostile_output import CORPUS, MARKER
from tests.rigs.steered_node import SteeredNode, filled
from tests.rigs.steered_plane import Node

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

ATTACK = "'\"><img data-xss src=/x onerror=xss=1>"
ENDPOINT = "'\"><img/data-xss/src=/x/onerror=xss=1>:443"
"""Without white space, as an endpoint must be."""
NODE = "hostile"
USER = "u:1"
BASE_ERRORS = ("", "lost: ", "interrupted: ", "signal: ", "script has ", "context canceled ")
"""How errors begin from which the outcome is read where there are no details."""
REASONED = (RunOutcome.MEMORY_LIMIT, RunOutcome.REFUSED, RunOutcome.NOT_STARTED, RunOutcome.INTERRUPTED)
"""Outcomes whose sentence has the node's reason in it; the page says no other."""
NO_ADDRESSES = dict.fromkeys(("public_ip", "public_ipv6", "internal_ip", "internal_ipv6", "wireguard_ip"), "")


@dataclass
class Texts:
    """Hands out attacks, each of its own."""

    said: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> str:
        self.said.append(f"{name[:16]}{len(self.said)}{ATTACK}")
        return self.said[-1]


@dataclass(frozen=True)
class Harm:
    """A fleet in which everything has been said, and what must be read where."""

    served: Fleet
    token: str
    node: list[str]
    """On the page of the node."""
    tasks: dict[str, list[str]]
    """On the page of each task."""
    events: list[str]
    """In the audit."""
    names: list[str]
    """Of the node and the user."""


@pytest.fixture(scope="module")
def harm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harm]:
    with fleet(tmp_path_factory.mktemp("harm")) as served, served.server.client(served.token) as operator:
        names = Texts()
        order = {"id": NODE, "name": names("node")}
        token = operator.post("/api/v1/nodes", json=order).raise_for_status().json()["token"]
        operator.put(f"/api/v1/nodes/{NODE}/profile", json={}).raise_for_status()
        operator.post("/api/v1/users", json={"id": USER, "name": names("user")}).raise_for_status()
        with served.server.client(token) as client:
            node = SteeredNode(client, NODE)
            told, events = Texts(), Texts()
            tell_of_itself(node, told)
            tell_events(node, events)
            refuse(node)
            tasks = end_tasks(served, node)
            yield Harm(served, token, told.said, tasks, events.said, names.said)


def tell_of_itself(node: SteeredNode, text: Texts) -> None:
    node.say("/api/agent/hello", Hello(node_id=NODE, wireguard_endpoint=ENDPOINT))
    runtime = filled(AgentRuntime, text, no_exec=False)
    given = {"agent_runtime": runtime, "compatibility": Compatibility(server_min=ATTACK), **NO_ADDRESSES}
    node.say("/api/agent/metrics", filled(Heartbeat, text, node_id=NODE, **given))
    node.say("/api/agent/inventory", filled(HostInventoryReport, text, node_id=NODE))
    for bytes_ in (0, 900_000):
        usage = UsageSnapshot(core_uptime_sec=100 + bytes_, user_bytes={USER: bytes_}, collector_source="xray")
        node.say("/api/agent/proxy-usage", UsageReport(node_id=NODE, snapshot=usage))
    failed = UsageSnapshot(collector_source="xray", collector_status="error", collector_error=text("collector"))
    node.say("/api/agent/proxy-usage", UsageReport(node_id=NODE, snapshot=failed))


def tell_events(node: SteeredNode, text: Texts) -> None:
    node.say("/api/agent/event", filled(AgentEvent, text, node_id=NODE))
    node.say("/api/agent/event", filled(AgentEvent, text, node_id=NODE, kind="ssh_login"))
    unknown = TaskResult(task_id=text("unknown task"), lease_id=ATTACK)
    assert node.send("/api/agent/task-result", ResultReport(node_id=NODE, result=unknown)).status_code == 403


def refuse(node: SteeredNode) -> None:
    """What is an id or an address for the wire is refused before anybody can look at it."""
    snapshots = (
        UsageSnapshot(core_uptime_sec=1, user_bytes={ATTACK: 1}),
        UsageSnapshot(core_uptime_sec=1, user_bytes={}, collector_source=ATTACK),
        UsageSnapshot(core_uptime_sec=1, user_bytes={}, collector_status=ATTACK),
    )
    refused: list[tuple[str, WireModel]] = [
        ("/api/agent/proxy-usage", UsageReport(node_id=NODE, snapshot=snapshot)) for snapshot in snapshots
    ]
    addresses: list[dict[str, Any]] = [{"public_ip": ATTACK}, {"public_ipv6": ATTACK}, {"wireguard_ip": ATTACK}]
    refused += [("/api/agent/metrics", Heartbeat(node_id=NODE, **address)) for address in addresses]
    refused += [("/api/agent/hello", Hello(node_id=NODE, wireguard_public_key=ATTACK))]
    for path, message in refused:
        assert node.send(path, message).status_code == 400, message
    assert node.send("/api/agent/hello", Hello(node_id=ATTACK)).status_code >= 400


def end_tasks(served: Fleet, node: SteeredNode) -> dict[str, list[str]]:
    """One for each word of an outcome, one with a word that nobody knows, and some without details."""
    tasks: dict[str, list[str]] = {}
    for outcome in (*RunOutcome, ATTACK):
        text = Texts()
        failed = outcome is not RunOutcome.SUCCEEDED
        reason = text("reason") if outcome in REASONED else ATTACK
        detail = filled(RunDetail, Texts(), outcome=str(outcome), reason=reason)
        error = text("error") if failed else ""
        task_id = end_task(served, node, text, exit_code=int(failed), error=error, detail=detail)
        tasks[task_id] = text.said
    for beginning in BASE_ERRORS:
        text = Texts()
        tasks[end_task(served, node, text, exit_code=-1, error=beginning + text("error"))] = text.said
    return tasks


def end_task(served: Fleet, node: SteeredNode, text: Texts, **result: Any) -> str:
    task = lease(served, node, f"# {text('comment')}\necho {text('script')}\n")
    node.end(task, stdout=text("stdout") + "\n", stderr=text("stderr") + "\n", **result)
    return task.id


def lease(served: Fleet, node: SteeredNode, script: str) -> LeasedTask:
    served.plane.create(Node(node.id, ""), script)
    [task] = node.lease()
    return task


def read(page: Page, path: str) -> str:
    """What can be read there once everything is open, after a look whether anything was done."""
    page.goto(path)
    if "/tasks/task_" in path:
        expect(page.locator(".log")).to_contain_text("stdout")
    return read_here(page)


def read_here(page: Page) -> str:
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.locator("[data-xss]").count() == 0, page.url
    assert page.evaluate("typeof window.xss") == "undefined", page.url
    text = page.locator("main").inner_text()
    assert "&lt;" not in text, f"{page.url} is escaped twice"
    return f"{page.title()}\n{text}"


def missing(texts: list[str], page: Page, path: str) -> list[str]:
    """Lists of things are shown as JSON, with the quotation mark escaped."""
    found = read(page, path).replace('\\"', '"')
    return [text for text in texts if text not in found]


@pytest.mark.long
@pytest.mark.parametrize(
    ("scheme", "scripts"), [("light", True), ("dark", True), ("light", False)], ids=["light", "dark", "no scripts"]
)
def test_every_text_of_a_node_is_read_and_does_nothing(
    browser: Browser, harm: Harm, scheme: Literal["light", "dark"], scripts: bool
) -> None:
    with signed_in(browser, harm.served, scheme=scheme, scripts=scripts) as watched:
        page = watched.page
        for range_ in ("1h", "24h", "7d"):
            assert not missing([*harm.node, ENDPOINT], page, f"/nodes/{NODE}?range={range_}")
        looked_at = list(harm.tasks.items()) if scheme == "light" and scripts else list(harm.tasks.items())[:3]
        for task_id, texts in looked_at:
            assert not missing(texts, page, f"/tasks/{task_id}")
        assert not missing(harm.events, page, "/audit")
        assert not missing(harm.names[:1], page, "/nodes")
        assert not missing(harm.names[1:], page, "/usage")
        assert not missing(harm.names[1:], page, f"/usage?node={NODE}")
        for path in (f"/usage?user={USER}", "/tasks", f"/tasks?node={NODE}&outcome=failed", "/enrol", "/password"):
            read(page, path)
        task_id = next(iter(harm.tasks))
        read(page, f"/tasks/new?like={task_id}&node={NODE}")
        assert ATTACK in page.get_by_label("Script").input_value()
        assert not watched.dialogs


@pytest.mark.long
def test_parts_that_are_fetched_anew_do_nothing(browser: Browser, harm: Harm) -> None:
    text, look_again = Texts(), "document.dispatchEvent(new Event('visibilitychange'))"
    with harm.served.server.client(harm.served.token) as operator, signed_in(browser, harm.served) as watched:
        page = watched.page
        page.goto("/nodes")
        operator.post(f"/api/v1/nodes/{NODE}/drain", json={"draining": True}).raise_for_status()
        page.evaluate(look_again)
        expect(page.locator(f"#node-{NODE}")).to_contain_text("draining")
        assert harm.names[0] in read_here(page)
        page.goto("/tasks")
        task_id = harm.served.plane.create(Node(NODE, ""), text("script"))
        page.evaluate(look_again)
        expect(page.locator("main")).to_contain_text(text.said[0])
        read_here(page)
        operator.post(f"/api/v1/tasks/{task_id}/cancel", json={}).raise_for_status()
        operator.post(f"/api/v1/nodes/{NODE}/drain", json={"draining": False}).raise_for_status()
        assert not watched.dialogs


@pytest.mark.long
def test_an_end_that_is_markup_does_nothing_when_it_comes(browser: Browser, harm: Harm) -> None:
    text = Texts()
    with harm.served.server.client(harm.token) as client, signed_in(browser, harm.served) as watched:
        node, page = SteeredNode(client, NODE), watched.page
        task = lease(harm.served, node, "true")
        page.goto(f"/tasks/{task.id}")
        expect(page.locator("#task-state .verdict")).to_contain_text("leased")
        detail = RunDetail(outcome=RunOutcome.REFUSED, reason=text("reason"), rule=text("rule"))
        node.end(task, exit_code=1, error=text("error"), stdout=text("stdout"), stderr=text("stderr"), detail=detail)
        expect(page.locator("#task-state .verdict")).to_contain_text(text.said[0])
        expect(page.locator(".log")).to_contain_text("stderr")
        found = read_here(page)
        assert [said for said in text.said if said not in found] == []
        assert not watched.dialogs


@pytest.mark.long
def test_addresses_that_are_markup_do_nothing(browser: Browser, harm: Harm) -> None:
    attack = quote(ATTACK.replace("/", ""), safe="")  # a segment of a path has no slash
    found = ("/nodes?q={0}&tag={0}&after={0}", "/audit?q={0}&action={0}&node={0}", "/tasks/new?node={0}&tag={0}")
    refused = (
        *("/nodes/{0}", "/tasks/{0}", f"/nodes/{NODE}?range={{0}}", "/usage?node={0}", "/usage?user={0}"),
        *("/tasks?node={0}&status={0}&outcome={0}", "/tasks/new?like={0}", "/login?next={0}"),
    )
    with signed_in(browser, harm.served) as watched:
        for path in found:
            read(watched.page, path.format(attack))
        assert not watched.faults
        for path in refused:
            read(watched.page, path.format(attack))
        # A browser tells of a page that is not there as of an error.
        watched.faults[:] = [fault for fault in watched.faults if "responded with a status of 4" not in fault]
        assert not watched.dialogs


@pytest.mark.long
def test_downloads_of_markup_are_no_pages(browser: Browser, harm: Harm) -> None:
    with signed_in(browser, harm.served) as watched:
        task_id = next(iter(harm.tasks))
        for stream in ("stdout", "stderr"):
            answer = watched.page.request.get(f"/tasks/{task_id}/download?node={NODE}&stream={stream}")
            assert ATTACK.encode() in answer.body()
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.long
def test_hostile_output_does_nothing_while_it_comes(browser: Browser, harm: Harm) -> None:
    """From a real script through a real agent; the ends of the same outputs are looked at in test_task_pages."""
    site = harm.served.site
    gate, waiting = site.gate("corpus"), site.place / "corpus"
    waiting.write_bytes(b"\n".join(CORPUS.values()) + b"\n")
    with site.agent(), signed_in(browser, harm.served) as watched:
        page = watched.page
        script = f"cat {waiting}; cat {waiting} >&2; {gate.wait}; echo released"
        page.goto(f"/tasks/{harm.served.plane.create(site.node, script)}")
        page.wait_for_function(
            "([mark, amount]) => document.querySelector('.log').textContent.split(mark).length > amount",
            arg=[MARKER, 1.9 * len(CORPUS)],
        )
        expect(page.locator("#task-state .verdict")).to_contain_text("running")
        names = page.locator(".log *").evaluate_all("all => [...new Set(all.map(one => one.nodeName))]")
        assert set(names) <= {"DIV", "SPAN"}
        gate.open()
        expect(page.locator(".log")).to_contain_text("released")
        assert "owned" not in page.title()
        assert not watched.dialogs
