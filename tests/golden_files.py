"""Reads the recorded exchanges of tests/golden (its README explains the stand-ins)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Exchange:
    """One recorded request and answer; ``body`` values have their stand-ins expanded."""

    name: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    body_text: str | None
    status: int
    answer_headers: dict[str, str]
    answer: Any
    answer_text: str | None
    frames_after: list[Any]


@cache
def exchanges() -> tuple[Exchange, ...]:
    """All of them, by name."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.json")))


def exchange(name: str) -> Exchange:
    """One of them."""
    return next(e for e in exchanges() if e.name == name)


def _read(path: Path) -> Exchange:
    data = json.loads(path.read_text())
    request, response = data["request"], data["response"]
    return Exchange(
        name=data["name"],
        method=request["method"],
        path=request["path"],
        query=request["query"],
        headers=request["headers"],
        body=_expand(request.get("body")),
        body_text=request.get("body_text"),
        status=response["status"],
        answer_headers=response["headers"],
        answer=_expand(response.get("body")),
        answer_text=response.get("body_text"),
        frames_after=response.get("frames_after", []),
    )


def _expand(value: Any) -> Any:
    if isinstance(value, list):
        return [_expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$repeat" in value:
        text, times = value["$repeat"]
        return text * times
    if "$repeat_lines" in value:
        text, times = value["$repeat_lines"]
        return [text] * times
    if "$users" in value:
        pattern, number, each = value["$users"]
        return {pattern % i: each for i in range(number)}
    return {key: _expand(item) for key, item in value.items()}
