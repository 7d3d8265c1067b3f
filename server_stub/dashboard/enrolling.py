"""Adding a node, and a new token for one: the command that starts its agent is shown this once."""

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from server_stub.actions import registry
from server_stub.api.plane import plane_of
from server_stub.dashboard.forms import Form, one
from server_stub.dashboard.pages import render
from server_stub.dashboard.visits import Visitor, form, page
from server_stub.enrolment import commands, notes
from server_stub.errors import Refused
from server_stub.ids import new_node_token
from server_stub.rules.tags import check_tags
from server_stub.store.base import Tables
from server_stub.store.records import Node

_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_NAME: Final = 256


async def show_form(request: Request, _visitor: Visitor) -> Response:
    return render(request, "enrol.html", message="", fields={"id": "", "name": "", "tags": ""})


async def enrol(request: Request, visitor: Visitor, sent: Form) -> Response:
    """What was wrong is said in the form, with what was typed still in it."""
    plane = plane_of(request)
    fields = {name: one(sent, name).strip()[:_NAME] for name in ("id", "name", "tags")}
    token, now, limit = new_node_token(), plane.now(), plane.settings.limits.nodes
    try:
        tags = check_tags(words(fields["tags"]))

        def work(tables: Tables) -> Node:
            return registry.add_node(tables, visitor.name, fields["id"], fields["name"], token, now, limit, tags)

        node = await plane.write(work)
    except Refused as refusal:
        return render(request, "enrol.html", status=refusal.status, message=refusal.message, fields=fields)
    return _command_page(request, node.id, token, "is added")


async def rotate(request: Request, visitor: Visitor, _sent: Form) -> Response:
    plane = plane_of(request)
    node_id, token, now = request.path_params["node_id"], new_node_token(), plane.now()
    await plane.write(lambda tables: registry.rotate_token(tables, visitor.name, node_id, token, now))
    return _command_page(request, node_id, token, "has a new token, and its old one is refused")


def words(text: str) -> list[str]:
    """What people separate by spaces or commas."""
    return text.replace(",", " ").split()


def _command_page(request: Request, node_id: str, token: str, done: str) -> Response:
    server = _server(request)
    typed = "\n".join(commands(server, node_id, token))
    return render(request, "enrolled.html", node_id=node_id, done=done, command=typed, notes=notes(server))


def _server(request: Request) -> str:
    """The address that the operator's browser used, which a node can probably use, too."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise Refused(400, "host: the name of this server cannot be read")
    return f"{request.url.scheme}://{host}"


def routes() -> list[BaseRoute]:
    return [
        page("/enrol", show_form),
        form("/enrol", enrol),
        form("/nodes/{node_id}/token", rotate),
    ]
