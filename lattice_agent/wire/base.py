"""What all messages share: how a model reads JSON from the other side and how it writes its own.

Theory of operation. The other side is written in Go, whose JSON rules differ from Python's in four places that
matter (protocol reference 1.0), and both rules live here so that no model needs to know them:

- reading: ``null`` for anything means the zero value; integers must be integers (``1.0``, ``"1"`` are refused);
  a time has an offset, and year 1 means "unset" (``None`` here); broken UTF-8 and lone surrogates become U+FFFD;
- writing: ``omitempty`` fields disappear when empty, all others are always there; an unset time is written as
  year 1; NaN and Infinity never leave.

Unknown fields are ignored on both sides (a newer peer may send them); unknown *values* are refused only where a
model says so.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    Strict,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import from_json, to_json

from lattice_agent.errors import LatticeError

BODY_LIMIT: Final = 1_048_576
"""Bytes of a request body the server reads (protocol reference 1.0)."""

UNSET_TIME: Final = "0001-01-01T00:00:00Z"
_FIRST_TIME: Final = datetime(2, 1, 1, tzinfo=UTC)
"""What is earlier, wherever its clock stands, is of year 1: unset."""
_LONE_SURROGATE: Final = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a pair: kept
    r"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"  # half of one: replaced
    r"|(\\.)",  # any other escape: kept, and what follows it is not misread
    re.DOTALL,
)


class WireError(LatticeError):
    """A message is not valid JSON of its model; the message names the field and the rule it breaks."""

    default_hint = "the other side speaks another protocol; compare versions"


def _read_time(value: object) -> object:
    """RFC 3339 text to an aware datetime; year 1 to None."""
    if isinstance(value, str):
        if len(value) < 20 or value[10] not in "Tt":
            raise ValueError("time must be RFC 3339 with an offset, such as 2026-01-02T03:04:05Z")
        value = datetime.fromisoformat(_nanoseconds_cut(value))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("time must have an offset, such as Z or +02:00")
        return None if value < _FIRST_TIME else value
    return value


def _nanoseconds_cut(text: str) -> str:
    """Go writes up to nine digits of a second; Python keeps six."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def _write_time(value: datetime | None) -> str:
    if value is None:
        return UNSET_TIME
    try:
        moment = value.astimezone(UTC)
    except OverflowError:  # an offset that leads out of year 9999, the last one that can be written
        moment = datetime.max.replace(tzinfo=UTC)
    return moment.isoformat().replace("+00:00", "Z")


Time = Annotated[datetime | None, BeforeValidator(_read_time), PlainSerializer(_write_time, when_used="json")]
Int = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Uint = Annotated[int, Field(ge=0, le=2**64 - 1)]

T = TypeVar("T")
Items = Annotated[tuple[T, ...], Strict(False)]
"""A JSON list as an immutable tuple; ``null`` is the empty one."""


class OmitEmpty:
    """Marks a field that is left out of what we send while it is empty (Go's ``omitempty``)."""


OMIT: Final = OmitEmpty()


class WireModel(BaseModel):
    """Frozen base of every message."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)
    _omitted_when_empty: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._omitted_when_empty = frozenset(name for name, field in cls.model_fields.items() if OMIT in field.metadata)

    @model_validator(mode="before")
    @classmethod
    def _null_is_zero(cls, data: object) -> object:
        if isinstance(data, Mapping) and None in data.values():
            return {key: value for key, value in data.items() if value is not None}
        return data

    @model_serializer(mode="wrap")
    def _omit_empty(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if info.mode == "json":
            for name in self._omitted_when_empty:
                if not fields.get(name) and name in fields:
                    del fields[name]
        return fields


M = TypeVar("M", bound=WireModel)


def encode(message: WireModel) -> bytes:
    """The message as compact UTF-8 JSON.

    ``ensure_ascii`` is off on purpose: an escaped character can cost six bytes of the server's body limit.
    """
    return to_json(message)


def decode_json(raw: bytes) -> Any:
    """Any JSON value out of bytes, with Go's reading of broken text; ``WireError`` if it is not exactly one value.

    Of its texts only names of fields are kept to be found again: ids do not come again.
    """
    text = raw.decode("utf-8", "replace")
    if "\\u" in text:
        text = _LONE_SURROGATE.sub(lambda m: m.group(0) if m.group(1) or m.group(2) else "\\ufffd", text)
    try:
        return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise WireError(f"not valid JSON: {error}") from None


def decode(model: type[M], raw: bytes) -> M:
    """A message of the given model out of bytes; ``WireError`` names the first field that is wrong."""
    return parse(model, decode_json(raw))


def parse(model: type[M], value: object) -> M:
    """A message of the given model out of an already decoded JSON value."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise WireError(_first_problem(model, error)) from None


def _first_problem(model: type[WireModel], error: ValidationError) -> str:
    # The input value is left out: it may be a script or a secret.
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "message"
    return f"{model.__name__}: {place}: {first['msg']}"
