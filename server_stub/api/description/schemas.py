"""JSON schemas of the models, with the rules that pydantic does not know by itself.

The messages of the agents' wire read as Go does (``lattice_agent.wire.base``): ``null`` is the zero value of any field
of a request, and every field of an answer is there but for those that are left out when empty.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from lattice_agent.wire.base import OMIT, WireModel
from lattice_agent.wire.fact import FactModel

Direction = Literal["validation", "serialization"]
Schema = dict[str, Any]
REF_TEMPLATE: Final = "#/components/schemas/{model}"
_NULL: Final = {"type": "null"}
_ABOUT: Final = ("title", "default", "description")
"""Keywords that say nothing of the type."""


class Schemas:
    """The schemas of many types and those that they refer to; a name stands for one thing in all of them."""

    def __init__(self, wanted: Iterable[tuple[Any, Direction]]) -> None:
        """``validation`` for what is read, ``serialization`` for what is sent."""
        distinct = dict.fromkeys(wanted)
        self._found, shared = TypeAdapter.json_schemas(
            [(one, direction, TypeAdapter(one)) for one, direction in distinct],
            schema_generator=_Generator,
            ref_template=REF_TEMPLATE,
        )
        self.shared: Final[Schema] = shared.get("$defs", {})

    def of(self, wanted: Any, direction: Direction) -> Schema:
        return self._found[wanted, direction]


def properties(model: type[BaseModel]) -> tuple[Schema, frozenset[str]]:
    """Name and schema of each field as it is read, and which of them must be there."""
    schema = TypeAdapter(model).json_schema(schema_generator=_Generator)
    known = {name: _inlined(one, schema.get("$defs", {})) for name, one in schema.get("properties", {}).items()}
    return known, frozenset(schema.get("required", ()))


def _inlined(schema: Any, shared: Schema) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, shared) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return shared[schema["$ref"].rpartition("/")[2]]
    return {key: _inlined(one, shared) for key, one in schema.items()}


class _Generator(GenerateJsonSchema):
    def ser_schema(self, schema: Any) -> JsonSchemaValue | None:
        """The serializers that wrap a model only leave fields out: its fields say what is in it."""
        return None if schema["type"] == "function-wrap" else super().ser_schema(schema)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        model, generated = schema["cls"], super().model_schema(schema)
        if not issubclass(model, WireModel):
            return generated
        if self.mode == "validation":
            generated["properties"] = {name: _or_null(one) for name, one in generated.get("properties", {}).items()}
        elif not issubclass(model, FactModel):
            generated["required"] = [name for name, field in model.model_fields.items() if OMIT not in field.metadata]
        return generated


def _or_null(schema: Schema) -> Schema:
    if _NULL in schema.get("anyOf", ()):
        return schema
    outside: Schema = {key: value for key, value in schema.items() if key in _ABOUT}
    return {"anyOf": [{key: value for key, value in schema.items() if key not in _ABOUT}, _NULL]} | outside
