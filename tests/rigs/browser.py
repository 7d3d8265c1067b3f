"""A headless Chromium at the web page of a real control plane, with a real agent behind it.

    with fleet(tmp_path) as site, site.agent(), browsing(site.server) as page: ...

Whatever a page must never do fails the test at its end: an error in a script, a message of an error on the console (a
violation of the content security policy is one), a dialog that nobody expects, a request to another place.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Cookie, Dialog, Page, Request, expect, sync_playwright

from tests.rigs.real_processes import Site, wait_until
from tests.rigs.server_process import Running, serving, started
from tests.rigs.steered_plane import LIMIT_S, Plane, register_operator

PASSWORD: Final = "correct horse battery"
_QUIET: Final = [
    "--no-sandbox",  # tests run as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]


@dataclass
class Watched:
    """A page, and what it did that it must not do."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    """Texts of dialogs; each was accepted, as an operator would who means it."""

    def watch(self) -> None:
        self.page.on("pageerror", lambda error: self.faults.append(f"error in a script: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("dialog", self._dialog)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.faults.append(f"asked for {request.url}")

    def _dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.accept()


@dataclass(frozen=True)
class Fleet:
    """A control plane as a process, its operator's side, and one node's place on disk."""

    server: Running
    plane: Plane
    operator: str
    site: Site
    token: str
    """Of the operator."""
    cookies: list[Cookie] = field(default_factory=list)
    """Of the last sign-in, for the pages that follow: only ten at once may sign in from an address."""

    def wait_policy(self) -> None:
        """Until the node has told what it allows."""
        wait_until(lambda: self.plane.node(self.site.node)["policy"], "the node's policy")


def _database(place: Path) -> Path:
    return place / "control.db"


def server(place: Path, port: int = 0) -> AbstractContextManager[Running]:
    """The control plane's process over what it keeps in ``place``; on the same port it is the one that was there."""
    return started(serving(db_path=str(_database(place)), port=port))


@contextmanager
def fleet(
    place: Path, port: int = 0, *, prepare: Callable[[Path], str] = register_operator, node_id: str = ""
) -> Iterator[Fleet]:
    """A control plane with one node registered; the agent is started by ``site.agent()``. ``prepare`` puts into the
    database what is there from the beginning, one operator, and returns that operator's token."""
    token = prepare(_database(place))
    with server(place, port) as running:
        plane = Plane(running.url, token)
        try:
            with running.client(token) as client:
                [operator] = client.get("/api/v1/operators").json()["operators"]
                path = f"/api/v1/operators/{operator['name']}/password"
                client.post(path, json={"password": PASSWORD}).raise_for_status()
            yield Fleet(running, plane, operator["name"], Site(place, running.url, plane.add_node(node_id)), token)
        finally:
            plane.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=LIMIT_S * 1_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


def _sign_in(page: Page, served: Fleet) -> None:
    """By the form, unless the session of an earlier page is still good; ends at the nodes."""
    page.context.add_cookies(served.cookies)  # type: ignore[arg-type]  # what was given out is taken
    page.goto("/nodes")
    if urlsplit(page.url).path == "/login":
        page.get_by_label("Operator").fill(served.operator)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/nodes")
    served.cookies[:] = page.context.cookies()


@contextmanager
def signed_in(
    browser: Browser,
    served: Fleet,
    *,
    width: int = 1200,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    scripts: bool = True,
) -> Iterator[Watched]:
    """A page at the fleet, after the sign-in form. Fails at its end when the page did what it must not."""
    context = browser.new_context(
        base_url=served.server.url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=scripts,
    )
    context.set_default_timeout(LIMIT_S * 1_000)
    try:
        watched = Watched(context.new_page(), served.server.url)
        watched.watch()
        _sign_in(watched.page, served)
        yield watched
        assert not watched.faults, watched.faults
    finally:
        context.close()
