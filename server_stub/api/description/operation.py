"""One operation of the API, as it is written in the tables."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

Caller = Literal["operator", "node", "anyone"]


@dataclass(frozen=True)
class Operation:
    """``answer`` is the type of the body of a success (``None``: there is no such JSON), ``refusals`` are statuses with
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
    events: tuple[tuple[str, Any], ...] = ()
    """Of an event stream: the name of each event, and the type of its data."""
    links: tuple[tuple[str, str, str], ...] = ()
    """What a success leads to: operation id, its parameter, and where in the body the value for it is."""
    headers: tuple[str, ...] = ()
    """Names of ``components.headers`` that a success may have."""
