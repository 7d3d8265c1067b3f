"""Forms that arrive: bounded, and from pages of ours only.

Three things keep another site from sending one in an operator's name: the session cookie is ``SameSite=Strict``, the
browser's own word on where a request comes from must not be another site, and each form carries a token that only our
pages know.
"""

import hmac
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request

from server_stub.api.body import read_body
from server_stub.api.sessions import is_from_own_page
from server_stub.errors import Refused

TOKEN: Final = "csrf"  # noqa: S105  # the name of a field
_LIMIT: Final = 3 * 2**20
"""Bytes: a script of the largest size with every byte percent-encoded is smaller."""
_FIELDS: Final = 4_096
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"

Form = dict[str, list[str]]


async def read_form(request: Request, limit: int = _LIMIT) -> Form:
    """The fields with their values in order. ``Refused`` 400 for anything but such a form within ``limit`` bytes."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
        raise Refused(400, f"content-type: must be {_MEDIA_TYPE}")
    raw = await read_body(request, limit)
    try:
        return parse_qs(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError:
        raise Refused(400, "the form cannot be read") from None


def one(form: Form, field: str) -> str:
    """The first value of a field, as the browser sent it: line ends are CR LF. Empty for one that was not sent."""
    return form.get(field, [""])[0]


def require_own_site(request: Request) -> None:
    """``Refused`` 403 when the browser says that another site, or none, sent the form. A client that says nothing has
    to know the token all the same."""
    if not is_from_own_page(request):
        raise Refused(403, "this form was sent by another site")


def require_token(form: Form, expected: str) -> None:
    """``Refused`` 403 unless the form carries the token that our page put into it."""
    if not expected or not hmac.compare_digest(one(form, TOKEN).encode(), expected.encode()):
        raise Refused(403, "this form is out of date; go back, load the page again and send it once more")
