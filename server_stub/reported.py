"""What an agent reported about itself, as pairs of texts.

The keys are not listed here: a newer agent sends more of them, and the unit of a value is told by its key
(``memory_total`` are bytes, ``cpu_percent`` is one). Keys and values come from the node, so nothing is taken for
granted about them: they are not made harmless here either.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from server_stub.readable import duration, size

_DEPTH: Final = 3  # of nested mappings; what is deeper is shown as JSON on one line
_BYTES: Final = ("_bytes", "_total", "_used", "_free", "_available")
_UNSET_TIME: Final = "0001-01-01T00:00:00Z"


def pairs(
    reported: Mapping[str, object], longest: int, *, prefix: str = "", depth: int = 1
) -> Iterator[tuple[str, str]]:
    """Key and value, nested keys joined by dots, empty values left out, values cut to ``longest`` characters."""
    for key, value in reported.items():
        if isinstance(value, Mapping) and depth < _DEPTH:
            yield from pairs(value, longest, prefix=f"{prefix}{key}.", depth=depth + 1)
        elif value not in (None, "", [], {}, _UNSET_TIME):
            yield prefix + key, _cut(written(key, value), longest)


def written(key: str, value: object) -> str:
    """A value with the unit that its key tells."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _measured(key, value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _measured(key: str, number: float) -> str:
    try:
        return _with_unit(key, number)
    except OverflowError:  # JSON has integers beyond any float, and they can be bytes of nothing
        return str(number)


def _with_unit(key: str, number: float) -> str:
    if key.endswith(_BYTES):
        return size(int(number))
    if key.endswith("_speed"):
        return f"{size(int(number))}/s"
    if key.endswith("_seconds"):
        return duration(number)
    if key.endswith("_percent"):
        return f"{number:.1f} %"
    return f"{number:g}" if isinstance(number, float) else str(number)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"
