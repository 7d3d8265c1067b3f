"""The OpenAPI 3.1 document, put together from the tables of operations and the schemas of their models."""

import re
from typing import Any, Final

from lattice_agent.wire.envelope import ErrorEnvelope
from server_stub.api.description import agents, operators
from server_stub.api.description.operation import Caller, Operation
from server_stub.api.description.schemas import Schema, Schemas, properties
from server_stub.api.sessions import SESSION

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"
_PLACE: Final = re.compile(r"\{(\w+)\}")
_ID: Final = {"type": "string", "minLength": 1, "description": "a path segment, percent-encoded"}
_SECURITY: Final[dict[Caller, list[dict[str, list[str]]]]] = {
    "operator": [{"operator": []}],
    "node": [{"node": []}],
    "anyone": [],
}
_COOKIE: Final[list[dict[str, list[str]]]] = [{"session": []}]
_MEANING: Final = {
    101: "The WebSocket is open",
    200: "Done",
    400: "The request is wrong; the message names the field",
    401: "No valid token, or another node's id",
    403: "Not for this caller, or not under this lease",
    404: "No such thing",
    408: "The body took longer than 30 s",
    409: "Not in this state",
    429: "Too many requests",
    503: "The database does not answer",
}
_INTRODUCTION: Final = """\
Operators' API and agents' wire of the reference control plane. A description for tools; docs/protocol.md is the one
for people. A method that a path does not have is answered 405 with the error envelope, an unknown path 404 in plain
text."""


def document(version: str) -> dict[str, Any]:
    """A JSON object. ``version`` is that of the server."""
    operations = (*operators.OPERATIONS, *agents.OPERATIONS)
    schemas = Schemas([(ErrorEnvelope, "serialization"), *_models(operations)])
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, _path(operation.path))
        path[operation.method] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lattice-control",
            "version": version,
            "description": _INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.shared,
            "headers": _headers(),
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION,
                    "description": "of the web page; over TLS with __Host- before its name",
                },
                "operator": {"type": "http", "scheme": "bearer", "description": "lop_ and 43 characters"},
                "node": {"type": "http", "scheme": "bearer", "description": "43 characters, one token for each node"},
            },
        },
    }


def _models(operations: tuple[Operation, ...]) -> list[tuple[Any, Any]]:
    read = [(operation.body, "validation") for operation in operations if operation.body is not None]
    sent = [(operation.answer, "serialization") for operation in operations if operation.answer is not None]
    told = [(data, "serialization") for operation in operations for _, data in operation.events]
    return [*read, *sent, *told]


def _path(path: str) -> dict[str, Any]:
    places = _PLACE.findall(path)
    if not places:
        return {}
    return {"parameters": [{"name": name, "in": "path", "required": True, "schema": _ID} for name in places]}


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "tags": [{"operator": "operators", "node": "agents", "anyone": "open"}[operation.caller]],
        "security": _SECURITY[operation.caller] + (_COOKIE if _may_have_cookie(operation) else []),
        "responses": _responses(operation, schemas),
    }
    if operation.query is not None:
        described["parameters"] = _parameters(operation)
    if operation.body is not None:
        content = {JSON: {"schema": schemas.of(operation.body, "validation")}}
        described["requestBody"] = {"required": _must_be_sent(operation), "content": content}
    return described


def _may_have_cookie(operation: Operation) -> bool:
    """The scripts of the web page follow event streams."""
    return bool(operation.events)


def _name(operation: Operation) -> str:
    """``post_nodes_node_id_rotate``."""
    words = re.findall(r"\w+", operation.path.removeprefix("/api").removeprefix("/v1"))
    return "_".join((operation.method, *words))


def _must_be_sent(operation: Operation) -> bool:
    """An operators' request without a body is one with ``{}``."""
    assert operation.body is not None
    return operation.caller == "node" or bool(properties(operation.body)[1])


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    assert operation.query is not None
    known, required = properties(operation.query)
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(schema)}
        for name, schema in known.items()
    ]


def _without_null(schema: Schema) -> Schema:
    """A query has no null: what may be null in the model may be left out."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "anyOf")}
    for one in schema.get("anyOf", ()):
        plain |= one if one != {"type": "null"} else {}
    if plain.get("default", ...) is None:
        del plain["default"]
    return plain


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    """Of a success, and of each refusal that can come."""
    refused = {
        str(status): _response(status, {JSON: {"schema": schemas.of(ErrorEnvelope, "serialization")}})
        for status in sorted(_refusals(operation))
    }
    if "404" in refused and "{" in operation.path:  # a slash in the id makes another path of it
        refused["404"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    if operation.success == 101:
        return {"101": {"description": _MEANING[101]}, **refused}
    content = _content(operation, schemas)
    if not content:
        return refused
    done = _response(operation.success, content)
    done["headers"] |= {name: {"$ref": f"#/components/headers/{name}"} for name in operation.headers}
    if operation.links:
        done["links"] = {target: _link(target, parameter, place) for target, parameter, place in operation.links}
    answers = {str(operation.success): done}
    if operation.path == "/readyz":
        answers["503"] = _response(503, content)
    return {**answers, **refused}


def _content(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    """By media type; of an event stream the schema is that of one event."""
    if operation.events:
        kinds = [_event(name, schemas.of(data, "serialization")) for name, data in operation.events]
        return {EVENT_STREAM: {"schema": {"oneOf": kinds}}}
    return {JSON: {"schema": schemas.of(operation.answer, "serialization")}} if operation.answer is not None else {}


def _event(name: str, data: Schema) -> Schema:
    encoded = {"type": "string", "contentMediaType": JSON, "contentSchema": data}
    known = {"event": {"const": name}, "data": encoded, "id": {"type": "string"}}
    return {"type": "object", "properties": known, "required": ["event", "data"]}


def _link(target: str, parameter: str, place: str) -> dict[str, Any]:
    return {"operationId": target, "parameters": {parameter: f"$response.body#{place}"}}


def _refusals(operation: Operation) -> set[int]:
    statuses = set(operation.refusals)
    if operation.caller != "anyone":
        statuses |= {401, 429}
    if operation.caller == "anyone" and operation.path.startswith("/api/v1"):
        statuses.add(429)
    if "{" in operation.path:
        statuses.add(404)
    if operation.query is not None:
        statuses.add(400)
    if operation.body is not None:
        statuses |= {400, 408}
    return statuses


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    names = ("X-Lattice-Request-Id",)
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {"description": _MEANING[status], "headers": headers, "content": content}


def _headers() -> dict[str, Any]:
    return {
        "X-Lattice-Request-Id": {
            "description": "Also in the error envelope; in the server's log where something went wrong inside",
            "required": True,
            "schema": {"type": "string", "pattern": "^req_[a-z2-7]{16}$"},
        },
        "X-Lattice-Task-Execution-Disabled": {
            "description": "The kill switch of the fleet is on",
            "schema": {"const": "1"},
        },
    }
