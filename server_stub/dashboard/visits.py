"""Who may see a page, and how an endpoint of the page is put on a route.

An endpoint behind ``page`` or ``form`` is called for signed-in operators only. What it refuses (``Refused``) is shown
as a page.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.api.sessions import session_of
from server_stub.dashboard.forms import Form, read_form, require_own_site, require_token
from server_stub.dashboard.pages import moved, refusal_page, render
from server_stub.errors import Refused
from server_stub.rules.sessions import Session


@dataclass(frozen=True)
class Visitor:
    """Who looks at the page; ``csrf`` goes into every form."""

    session: Session

    @property
    def name(self) -> str:
        return self.session.operator

    @property
    def csrf(self) -> str:
        return self.session.csrf


PageEndpoint = Callable[[Request, Visitor], Awaitable[Response]]
FormEndpoint = Callable[[Request, Visitor, Form], Awaitable[Response]]


def page(path: str, endpoint: PageEndpoint) -> BaseRoute:
    """A page to look at; who is not signed in is asked to, and comes back to it.

    A browser keeps a strict cookie back where a link of another site was followed. So the first answer to that is a
    page of ours that asks for the same address again, now from this site.
    """

    async def guarded(request: Request) -> Response:
        visitor = await _visitor(request)
        if visitor is None and request.headers.get("sec-fetch-site") == "cross-site":
            return render(request, "onward.html", here=_here(request))
        if visitor is None:
            return moved(f"/login?next={quote(_here(request), safe='')}")
        return await endpoint(request, visitor)

    return Route(path, shown(guarded), methods=["GET"])


def form(path: str, endpoint: FormEndpoint) -> BaseRoute:
    """What a form of ours is sent to: from this site, with the session's token in it."""

    async def guarded(request: Request) -> Response:
        require_own_site(request)
        visitor = await _visitor(request)
        if visitor is None:
            return moved("/login")
        sent = await read_form(request)
        require_token(sent, visitor.csrf)
        return await endpoint(request, visitor, sent)

    return Route(path, shown(guarded), methods=["POST"])


def shown(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint with its refusals as pages."""

    async def showing(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused as refusal:
            return refusal_page(request, refusal)

    return showing


async def _visitor(request: Request) -> Visitor | None:
    session = await session_of(request)
    if session is None:
        return None
    request.state.visitor = Visitor(session)
    return Visitor(session)


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")
