"""Signing in and out.

One answer for a wrong name and a wrong password, after the same work. Sign-ins are limited by address and by name.
The sign-in form has a token, too, held against a cookie of its own: nobody can sign an operator in under another name.
"""

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server_stub.actions.sessions import WRONG, end_session, note_refused_login, open_session
from server_stub.api.gate import source_address
from server_stub.api.plane import Plane, plane_of
from server_stub.api.sessions import SESSION, SESSION_SECONDS, presented_cookie, session_of, set_cookie
from server_stub.dashboard.forms import Form, one, read_form, require_own_site, require_token
from server_stub.dashboard.pages import moved, render
from server_stub.dashboard.visits import Visitor, form, shown
from server_stub.errors import Refused
from server_stub.ids import new_session_secret, token_digest
from server_stub.rules.addresses import rate_key
from server_stub.rules.local_paths import local_path
from server_stub.rules.passwords import LONGEST
from server_stub.rules.sessions import Session

_FORM: Final = "lattice_login"
_FORM_SECONDS: Final = 3_600
_FORM_BYTES: Final = 32_768
"""Anybody may send one: the longest name, password and path with every byte percent-encoded are smaller."""
_NAME_CHARACTERS: Final = 128
_HOME: Final = "/nodes"


async def show_login(request: Request) -> Response:
    """The form; who is signed in goes on."""
    wanted = local_path(request.query_params.get("next", ""), _HOME)
    if await session_of(request) is not None:
        return moved(wanted)
    return _login_page(request, wanted)


async def log_in(request: Request) -> Response:
    """Opens a session for a name and its password."""
    require_own_site(request)
    sent = await read_form(request, _FORM_BYTES)
    require_token(sent, presented_cookie(request, _FORM))
    wanted = local_path(one(sent, "next"), _HOME)
    try:
        secret = await _new_session(request, await _proven(request, sent))
    except Refused as refusal:
        return _login_page(request, wanted, refusal)
    answer = moved(wanted)
    set_cookie(request, answer, SESSION, secret, SESSION_SECONDS)
    set_cookie(request, answer, _FORM, "", 0)
    return answer


async def log_out(request: Request, visitor: Visitor, _sent: Form) -> Response:
    plane = plane_of(request)
    now = plane.now()
    await plane.write(lambda tables: end_session(tables, visitor.session, now))
    answer = moved("/login")
    set_cookie(request, answer, SESSION, "", 0)
    return answer


def _login_page(request: Request, wanted: str, refusal: Refused | None = None) -> Response:
    # One token for all tabs: each would otherwise make the forms of the others useless.
    token = presented_cookie(request, _FORM) or new_session_secret()
    status, message = (refusal.status, refusal.message) if refusal else (200, "")
    answer = render(request, "login.html", status=status, csrf=token, next=wanted, message=message)
    set_cookie(request, answer, _FORM, token, _FORM_SECONDS)
    return answer


@dataclass(frozen=True)
class _Proof:
    """An operator's name, and the hash that its password was found to match."""

    name: str
    encoded: str | None


async def _proven(request: Request, sent: Form) -> _Proof:
    """``Refused`` 401 without saying what was wrong, 429 for too many tries."""
    plane, address = plane_of(request), rate_key(source_address(request))
    name, password = one(sent, "name")[:_NAME_CHARACTERS], one(sent, "password")
    monotonic = plane.clock.monotonic()
    if not (plane.rates.login_addresses.take(address, monotonic) and plane.rates.login_names.take(name, monotonic)):
        raise Refused(429, "too many sign-ins; wait a minute and try again")
    encoded = await plane.read(lambda tables: tables.operators.password_hash(name))
    usable = len(password) <= LONGEST
    if await plane.passwords.matches(password[:LONGEST], encoded) and usable:
        return _Proof(name, encoded)
    await _note_refusal(plane, source_address(request), address)
    raise Refused(401, WRONG)


async def _note_refusal(plane: Plane, address: str, key: str) -> None:
    now = plane.now()
    if plane.rates.denials.take(f"login {key}", plane.clock.monotonic()):
        await plane.write(lambda tables: note_refused_login(tables, address, now))


async def _new_session(request: Request, proof: _Proof) -> str:
    """The secret of its cookie, which is not the one of any session before: a planted cookie is worth nothing."""
    plane = plane_of(request)
    secret, now = new_session_secret(), plane.now()
    session = Session(token_digest(secret), proof.name, new_session_secret(), now, now)
    address = source_address(request)
    await plane.write(lambda tables: open_session(tables, session, proof.encoded, address))
    return secret


def routes() -> list[BaseRoute]:
    return [
        Route("/login", shown(show_login), methods=["GET"]),
        Route("/login", shown(log_in), methods=["POST"]),
        form("/logout", log_out),
    ]
