"""The cookie of the web page, and who may use it."""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from server_stub.actions.sessions import find_session
from server_stub.api.plane import plane_of
from server_stub.ids import token_digest
from server_stub.rules.sessions import ABSOLUTE, Session, is_to_be_noted

_LONGEST: Final = 128
"""Characters of a cookie that is looked at; ours have 43."""


def cookie_name(connection: HTTPConnection, name: str) -> str:
    """Where the server speaks TLS, the prefix makes browsers hold the cookie to this host, this path and TLS."""
    return f"__Host-{name}" if plane_of(connection).settings.tls else name


def presented_cookie(connection: HTTPConnection, name: str) -> str:
    """The value, or "" for none or one that cannot be ours."""
    value = connection.cookies.get(cookie_name(connection, name), "")
    return value if len(value) <= _LONGEST else ""


def set_cookie(connection: HTTPConnection, response: Response, name: str, value: str, max_age_s: int) -> None:
    """Unreadable for scripts, and never sent with what another site has asked for."""
    response.set_cookie(
        cookie_name(connection, name),
        value,
        max_age=max_age_s,
        path="/",
        secure=plane_of(connection).settings.tls,
        httponly=True,
        samesite="strict",
    )


def is_from_own_page(connection: HTTPConnection) -> bool:
    """Whether the browser does not say that another page, or none, asks. Who says nothing is no browser of today."""
    if connection.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = connection.headers.get("origin")
    # The host alone: behind a proxy that ends TLS the scheme is another one.
    return origin is None or _host(origin) == connection.headers.get("host", "").lower()


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # of no browser
        return None


SESSION: Final = "lattice_session"
SESSION_SECONDS: Final = int(ABSOLUTE.total_seconds())


async def session_of(connection: HTTPConnection) -> Session | None:
    """The living session whose cookie the caller presents; that it is used is written down now and then."""
    plane = plane_of(connection)
    secret = presented_cookie(connection, SESSION)
    if not secret:
        return None
    digest, now = token_digest(secret), plane.now()
    session = await plane.read(lambda tables: find_session(tables, digest, now))
    if session is not None and is_to_be_noted(session, now):
        await plane.write(lambda tables: tables.sessions.note_use(digest, now))
    return session
