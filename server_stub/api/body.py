"""Request bodies: bounded in size and time while they arrive, then parsed."""

from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lattice_agent.wire.base import BODY_LIMIT, WireError, WireModel, decode
from server_stub.errors import Refused

M = TypeVar("M", bound=WireModel)
R = TypeVar("R", bound=BaseModel)
_READ_SECONDS: Final = 30.0
"""For the whole body, as in the reference; then 408."""


def _invalid() -> Refused:
    return Refused(400, "invalid request body")


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The body, never more than ``limit`` bytes of it in memory; one more is 400 as in the reference (no 413)."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > limit):
        raise _invalid()
    pieces: list[bytes] = []
    size = 0
    try:
        with anyio.fail_after(_READ_SECONDS):
            async with aclosing(request.stream()) as stream:
                async for piece in stream:
                    size += len(piece)
                    if size > limit:
                        raise _invalid()
                    pieces.append(piece)
    except TimeoutError:
        raise Refused(408, f"request body took longer than {_READ_SECONDS:.0f} s") from None
    return b"".join(pieces)


async def read_message(request: Request, model: type[M], limit: int = BODY_LIMIT) -> M:
    """A message of the wire; whatever is wrong with it is answered with the reference's one text."""
    raw = await read_body(request, limit)
    try:
        return decode(model, raw)
    except WireError:
        raise _invalid() from None


async def read_order(request: Request, model: type[R]) -> R:
    """A request of the operators' API; the answer names the field that is wrong or unknown."""
    raw = await read_body(request)
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise _wrong_field(error) from None


def as_order(model: type[R], fields: Mapping[str, Any]) -> R:
    """What a form of the web page asks for, by the rules of the operators' API."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _wrong_field(error) from None


def read_query(request: Request, model: type[R]) -> R:
    """The query of a request of the operators' API; the answer names the parameter that is wrong or unknown."""
    given = request.query_params.multi_items()
    repeated = [name for name, count in Counter(name for name, _ in given).items() if count > 1]
    if repeated:
        raise Refused(400, f"{repeated[0]}: given more than once")
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise _wrong_field(error) from None


def read_number(request: Request, name: str, default: int, ceiling: int) -> int:
    """A whole number of the query between 0 and ``ceiling``; ``Refused`` 400."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) <= 16 and int(given) <= ceiling):
        raise Refused(400, f"{name} must be between 0 and {ceiling}")
    return int(given)


def _wrong_field(error: ValidationError) -> Refused:
    # Neither the input nor the context: either may hold a script.
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "body"
    text = "unknown field" if first["type"] == "extra_forbidden" else first["msg"]
    return Refused(400, f"{place}: {text}")
