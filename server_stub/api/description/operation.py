"""One operation of the API, as it is written in the tables."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel

EVENT_STREAM: Final = "text/event-stream"
Caller = Literal["operator", "node", "anyone"]


@dataclass(frozen=True)
class Operation:
    """``answer`` is the type of the body of a success (``None``: there is no JSON one), ``refusals`` are statuses with
    the error envelope beyond those that every operation of its caller has."""

    method: Literal["get", "post", "put"]
    path: str
    caller: Caller
    summary: str
    answer: Any = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()
    success: int = 200
    media: str = "application/json"
    headers: tuple[str, ...] = ()
    """Names of ``components.headers`` that a success may have."""
