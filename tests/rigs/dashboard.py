"""The web page without a browser: somebody with a cookie who reads pages and sends their forms."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from tests.rigs.server_app import SOURCE, World

NAME, PASSWORD = "test-0", "correct horse battery"
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Form:
    """One form of a page with what it would send."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """What a page says: its text, links, forms, and each element with its attributes."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.markup = markup
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self._area = ""
        self.feed(markup)
        self.close()

    @property
    def text(self) -> str:
        """Everything that is no markup, with single spaces."""
        return " ".join("".join(self.pieces).split())

    def form(self, action: str) -> Form:
        """The first form that is sent there."""
        return next(form for form in self.forms if form.action == action)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        if self.forms and "name" in given and tag in ("input", "textarea", "select"):
            self._take(tag, given)
        if tag == "option" and "selected" in given and self.forms:
            self.forms[-1].fields[self._area] = given.get("value", "")

    def _take(self, tag: str, given: dict[str, str]) -> None:
        self._area = given["name"]
        if given.get("type") not in ("checkbox", "radio") or "checked" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)
        if self.open and self.open[-1] == "textarea" and self.forms:
            self.forms[-1].fields[self._area] += data


@dataclass(frozen=True)
class Browser:
    """Keeps cookies and says where its requests come from, as browsers do."""

    client: httpx.AsyncClient

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def page(self, path: str) -> Page:
        """A page that must be there."""
        answer = await self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.headers.get('location')}"
        return Page(answer.text)

    async def send(self, form: Form, **changes: str) -> httpx.Response:
        """Sends the form with some of its fields changed."""
        headers = {"origin": str(self.client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
        return await self.client.post(form.action, data=form.fields | changes, headers=headers)


@asynccontextmanager
async def browser(world: World, address: str = SOURCE) -> AsyncIterator[Browser]:
    """Somebody who is not signed in."""
    transport = httpx.ASGITransport(app=world.app, client=(address, 40_001), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
        yield Browser(client)


async def log_in(someone: Browser, name: str = NAME, password: str = PASSWORD) -> httpx.Response:
    """Fills in the sign-in form."""
    page = await someone.page("/login")
    return await someone.send(page.form("/login"), name=name, password=password)


async def set_password(world: World, name: str = NAME, password: str | None = PASSWORD) -> None:
    answer = await world.operator.post(f"/api/v1/operators/{name}/password", {"password": password})
    answer.raise_for_status()


@asynccontextmanager
async def signed_in(world: World) -> AsyncIterator[Browser]:
    """The world's operator at the page."""
    await set_password(world)
    async with browser(world) as someone:
        answer = await log_in(someone)
        assert answer.status_code == 303, answer.text
        yield someone
