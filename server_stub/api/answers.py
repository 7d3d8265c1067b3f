"""Bodies that go out."""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from lattice_agent.wire.base import WireModel, encode

OK: Final = b'{"ok":true}'


def json_bytes(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An encoded JSON document."""
    return Response(body, status, headers, "application/json")


def message(model: WireModel, *, status: int = 200) -> Response:
    """A message of the wire."""
    return json_bytes(encode(model), status=status)


def ok() -> Response:
    """The plain acknowledgement of the wire."""
    return json_bytes(OK)


def document(value: Mapping[str, Any]) -> Response:
    """A JSON object of the operators' API."""
    return json_bytes(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
