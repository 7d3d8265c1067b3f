"""How a field of the inventory or of the detailed metrics is described, and how such a model is written.

A field carries its description as metadata: ``docs/facts.md`` is made from it, so that the page cannot say something
else than the code. Unlike in the base wire, absence has a meaning of its own here: a field that is not known is left
out, and ``0`` and ``false`` are sent.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from lattice_agent.wire.base import WireModel

Scope = Literal["host", "container", "cgroup", "agent"]
"""Whose figure it is: the machine's; that of the namespaces the agent lives in; of its control group; of itself."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What a field means, where it comes from, whose figure it is, and what its absence says. ``unit`` "" is none."""

    meaning: str
    source: str
    scope: Scope = "host"
    absent: str = "not known"
    unit: str = ""


class FactModel(WireModel):
    """A group of facts. What is ``None`` or empty is left out when it is sent; 0 and false are sent."""

    @model_serializer(mode="wrap")
    def _omit_empty(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if info.mode != "json":
            return fields
        return {name: value for name, value in fields.items() if value is not None and value not in ("", [], ())}


class Gap(WireModel):
    """A family of facts that could not be had this time, and why."""

    family: str = ""
    reason: str = ""
