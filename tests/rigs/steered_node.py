"""A node spoken by hand: says whatever a test wants over real HTTP, with the node's own token.

``filled`` makes a message of which every text is the test's own, those of fields that are added later too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

import httpx
from pydantic import BaseModel

from lattice_agent.wire.base import WireModel, decode, encode
from lattice_agent.wire.results import ResultReport, TaskResult
from lattice_agent.wire.tasks import LeasedTask

M = TypeVar("M", bound=WireModel)
_LENGTH = 2
"""Of every list that ``filled`` makes."""


@dataclass(frozen=True)
class SteeredNode:
    """``client`` carries the token of the node ``id``."""

    client: httpx.Client
    id: str

    def send(self, path: str, message: WireModel) -> httpx.Response:
        """The answer, whatever it is."""
        return self.client.post(path, content=encode(message))

    def say(self, path: str, message: WireModel) -> None:
        """A message that must be taken."""
        self.send(path, message).raise_for_status()

    def lease(self) -> list[LeasedTask]:
        """What one poll hands out."""
        answer = self.client.get("/api/agent/tasks", params={"node_id": self.id}).raise_for_status()
        return [decode(LeasedTask, httpx.Response(200, json=task).content) for task in answer.json()]

    def end(self, task: LeasedTask, **result: Any) -> None:
        """Reports a result under the task's lease."""
        told = TaskResult(task_id=task.id, lease_id=task.lease_id, node_id=self.id, **result)
        self.say("/api/agent/task-result", ResultReport(node_id=self.id, result=told))


def filled(model: type[M], text: Callable[[str], str], **given: Any) -> M:
    """A message whose texts are ``text(NAME OF THE FIELD)``, numbers 1, switches on, times unset, lists of two.

    ``given`` are fields that are not to be filled.
    """
    rest = {name: field.annotation for name, field in model.model_fields.items() if name not in given}
    return model(**given, **{name: _value(annotation, name, text) for name, annotation in rest.items()})


def _value(annotation: Any, name: str, text: Callable[[str], str]) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return filled(annotation, text)  # type: ignore[type-var]
    if annotation in (str, int, float, bool):
        return text(name) if annotation is str else annotation(1)
    if annotation is datetime:
        return None
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if get_origin(annotation) is tuple:
        return tuple(_value(parts[0], f"{name}{nth}", text) for nth in range(_LENGTH))
    if parts:  # Annotated, or optional
        return _value(parts[0], name, text)
    raise TypeError(f"no value for {name}: {annotation}")
