"""A template becomes a page: with every value made visible and escaped, and with the headers that every page has.

What nodes, users and scripts say is hostile. A template cannot forget about it: each value that is put in goes
through ``visible`` (control and bidirectional characters become escapes) and then through HTML escaping. Only markup
that this package made itself (``Markup``) is left alone.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server_stub.dashboard import show
from server_stub.dashboard.static import static_url
from server_stub.errors import Refused
from server_stub.readable import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent / "templates"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "content-security-policy": _POLICY,
    # Not no-referrer: browsers would then say "Origin: null" of our own forms, and the check of it would be lost.
    # Another site is told nothing either way.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def render(request: Request, template: str, /, *, status: int = 200, **context: Any) -> Response:
    """The page that ``template`` makes of ``context``. It also sees ``visitor`` (None before the sign-in) and
    ``path``."""
    # Jinja2 costs some 2.5 MiB: only a server whose page is looked at pays for it.
    surroundings = {"visitor": getattr(request.state, "visitor", None), "path": request.url.path}
    body = _environment().get_template(template).render(surroundings | context)
    return HTMLResponse(body, status, HEADERS)


def moved(path: str) -> Response:
    """After a form: the browser goes on to ``path``, and loading it again sends nothing again."""
    return RedirectResponse(path, 303, HEADERS)


def refusal_page(request: Request, refusal: Refused) -> Response:
    """What an endpoint refused, as a page."""
    return render(request, "refused.html", status=refusal.status, message=refusal.message)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(_filters())
    environment.globals["static"] = static_url
    return environment


def _filters() -> dict[str, Callable[..., Any]]:
    return {
        "size": show.size_of,
        "duration": show.duration_of,
        "moment": show.moment_of,
        "ago": show.ago,
        "exact": show.exact,
        "segment": show.segment,
        "count": show.count,
        "sentence": show.sentence,
    }


def _harmless(value: Any) -> Any:
    from markupsafe import Markup

    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, keep="\n\t")
    return value
