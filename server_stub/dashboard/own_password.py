"""An operator's own password: whoever changes it has to know the present one, and other sessions end."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions.sessions import set_password
from server_stub.api.plane import plane_of
from server_stub.dashboard.forms import Form, one
from server_stub.dashboard.pages import render
from server_stub.dashboard.visits import Visitor, form, page
from server_stub.errors import Refused
from server_stub.rules.passwords import LONGEST, check_password


async def show_form(request: Request, _visitor: Visitor) -> Response:
    return _page(request)


async def change(request: Request, visitor: Visitor, sent: Form) -> Response:
    """What was wrong is said in the form, without what was typed."""
    plane = plane_of(request)
    try:
        await _check_present(request, visitor, one(sent, "present"))
        new = check_password(one(sent, "new"))
        if new != one(sent, "again"):
            raise Refused(400, "the new password was not the same both times")
    except Refused as refusal:
        return _page(request, refusal)
    encoded, now, keep = await plane.passwords.hash(new), plane.now(), visitor.session.digest
    await plane.write(lambda tables: set_password(tables, visitor.name, visitor.name, encoded, now, keep=keep))
    return _page(request, done=True)


async def _check_present(request: Request, visitor: Visitor, password: str) -> None:
    """Counts as a sign-in under the name: a session left open is no place to guess from."""
    plane = plane_of(request)
    if not plane.rates.login_names.take(visitor.name, plane.clock.monotonic()):
        raise Refused(429, "too many tries; wait a minute and try again")
    encoded = await plane.read(lambda tables: tables.operators.password_hash(visitor.name))
    if len(password) > LONGEST or not await plane.passwords.matches(password, encoded):
        raise Refused(403, "the present password is wrong")


def _page(request: Request, refusal: Refused | None = None, *, done: bool = False) -> Response:
    status, message = (refusal.status, refusal.message) if refusal else (200, "")
    return render(request, "password.html", status=status, message=message, done=done)


def routes() -> list[BaseRoute]:
    return [page("/password", show_form), form("/password", change)]
