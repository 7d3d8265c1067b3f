"""What operators send. Unknown fields are refused: a misspelt limit must not pass for its default."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict, JsonValue

from lattice_agent.wire.base import Time
from server_stub.rules.billing_calendar import LAST_RESET_DAY
from server_stub.rules.passwords import LONGEST, SHORTEST
from server_stub.rules.tags import MAX_TAGS, TAG_PATTERN
from server_stub.rules.task_limits import (
    INTERPRETERS,
    MAX_OUTPUT_BYTES,
    MAX_QUEUE_TIMEOUT_S,
    MAX_SCRIPT_BYTES,
    MAX_TARGETS,
    MAX_TIMEOUT_S,
)
from server_stub.rules.usage_report import ID_PATTERN

Id = Annotated[str, Field(json_schema_extra={"pattern": f"^{ID_PATTERN}$"})]
"""Described here, checked by the actions, which say in a sentence what an id is."""
Name = Annotated[str, Field(max_length=256)]
Bytes = Annotated[int, Field(ge=0, le=2**63 - 1)]
ResetDay = Annotated[int, Field(ge=0, le=LAST_RESET_DAY)]
Tags = Annotated[
    list[Annotated[Name, Field(json_schema_extra={"pattern": f"^{TAG_PATTERN}$"})]],
    Field(max_length=64, json_schema_extra={"maxItems": MAX_TAGS}),
]
NodeIds = Annotated[list[Annotated[str, Field(json_schema_extra={"minLength": 1})]], Field(max_length=1_000)]
_NO_TAGS: Final[JsonDict] = {"tags": {"maxItems": 0}}
_ONE_KIND_OF_TARGET: Final[list[JsonValue]] = [
    {"required": ["node"], "properties": {"node": {"minLength": 1}, **_NO_TAGS}},
    {"required": ["nodes"], "properties": {"nodes": {"minItems": 1}, **_NO_TAGS}},
    {
        "required": ["tags"],
        "properties": {"tags": {"minItems": 1}, "node": {"maxLength": 0}, "nodes": {"maxItems": 0}},
    },
]


def _up_to(highest: int) -> Any:
    """Bounds that are described here and checked by ``check_order``, in the words of the reference."""
    return Field(json_schema_extra={"minimum": 0, "maximum": highest})


class Order(BaseModel):
    """Base of every request body. Of its texts only names of fields are kept to be found again."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", cache_strings="keys")


class AddNode(Order):
    id: Id
    name: Name = ""
    tags: Tags = []


class TagNode(Order):
    """All tags that the node has from now on."""

    tags: Tags


class DrainNode(Order):
    draining: bool


class DisableNode(Order):
    disabled: bool


class Nothing(Order):
    """A body without fields."""


class SetIpConfig(Order):
    """How the node learns its public addresses (protocol reference 1.4); ``script`` only with mode ``script``."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"mode": {"const": "script"}}, "required": ["mode"]},
            "then": {"properties": {"script": {"pattern": r"\S"}}, "required": ["script"]},
            "else": {"properties": {"script": {"pattern": r"^\s*$"}}},
        }
    )

    mode: Literal["auto", "static", "resolver", "script"]
    static_ipv4: Name = ""
    static_ipv6: Name = ""
    resolvers: Annotated[list[Name], Field(max_length=16)] = []
    script: Annotated[str, Field(max_length=16_384)] = ""


class ConfigureNode(Order):
    """Everything the node's config answer carries beyond the defaults; what is left out is cleared."""

    debug: bool = False
    terminal_transport: Literal["", "poll", "stream"] = ""
    ip_config: SetIpConfig | None = None


class AddUser(Order):
    id: Id
    name: Name = ""
    quota_bytes: Bytes = 0
    nodes: NodeIds = []
    enabled: bool = True
    expires_at: Time = None
    reset_day: ResetDay = 0


class ChangeUser(Order):
    """What is left out stays as it is: look at ``model_fields_set``."""

    quota_bytes: Bytes = 0
    nodes: NodeIds = []
    enabled: bool = True
    expires_at: Time = None
    reset_day: ResetDay = 0


class AddOperator(Order):
    name: Id


class SetPassword(Order):
    """Null clears it. Its length is checked where it can be said without repeating it."""

    password: Annotated[str, Field(json_schema_extra={"minLength": SHORTEST, "maxLength": LONGEST})] | None


class CreateTask(Order):
    """One ``node``, several ``nodes``, or the nodes that have all of the ``tags``. Zero and absent limits take the
    defaults; ``concurrency``, ``max_failures`` and ``queue_timeout_sec`` have none."""

    model_config = ConfigDict(json_schema_extra={"required": ["script"], "anyOf": _ONE_KIND_OF_TARGET})

    node: str = ""
    nodes: Annotated[NodeIds, Field(json_schema_extra={"maxItems": MAX_TARGETS})] = []
    tags: Tags = []
    interpreter: Annotated[str, Field(json_schema_extra={"enum": ["", *INTERPRETERS]})] = ""
    script: Annotated[str, Field(json_schema_extra={"pattern": r"\S", "maxLength": MAX_SCRIPT_BYTES})] = ""
    timeout_sec: Annotated[int, _up_to(MAX_TIMEOUT_S)] = 0
    output_limit: Annotated[int, _up_to(MAX_OUTPUT_BYTES)] = 0
    concurrency: Annotated[int, _up_to(MAX_TARGETS)] = 0
    max_failures: Annotated[int, _up_to(MAX_TARGETS)] = 0
    queue_timeout_sec: Annotated[int, _up_to(MAX_QUEUE_TIMEOUT_S)] = 0


class CancelTask(Order):
    """On one node, or on all."""

    node: str = ""


class RerunTask(Order):
    only: Literal["failed", "all"]


class SetKillSwitch(Order):
    enabled: bool
