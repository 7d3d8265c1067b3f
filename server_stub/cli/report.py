"""What an agent reported about itself, as readable lines.

The keys are not listed here: a newer agent sends more of them, and the unit of a value is told by its key
(``memory_total`` are bytes, ``cpu_percent`` is one). Keys and values come from the node, so nothing is taken for
granted about them, and there is an end to how much is shown.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from server_stub.cli.text import duration, fields, size, visible

_LINES: Final = 200  # of one section; what is beyond is counted
_DEPTH: Final = 3  # of nested mappings; what is deeper is shown as JSON on one line
_VALUE: Final = 500  # characters
_BYTES: Final = ("_bytes", "_total", "_used", "_free", "_available")
_UNSET_TIME: Final = "0001-01-01T00:00:00Z"


def section(reported: Mapping[str, object]) -> list[str]:
    """``key  value`` lines, nested keys joined by dots, empty values left out."""
    pairs = list(_flat(reported, prefix="", depth=1))
    lines = fields(pairs[:_LINES])
    if len(pairs) > _LINES:
        lines.append(f"... and {len(pairs) - _LINES} more; see them with --json")
    return lines


def items(reported: Iterable[object]) -> list[str]:
    """One line for each group of fields: ``key value, key value``; what is no group is left out."""
    lines = []
    for number, item in enumerate(reported):
        if number == _LINES:
            lines.append("... and more; see them with --json")
            break
        if isinstance(item, Mapping):
            lines.append(
                ", ".join(f"{visible(key)} {visible(value)}" for key, value in _flat(item, prefix="", depth=1))
            )
    return lines


def _flat(reported: Mapping[str, object], *, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, value in reported.items():
        if isinstance(value, Mapping) and depth < _DEPTH:
            yield from _flat(value, prefix=f"{prefix}{key}.", depth=depth + 1)
        elif value not in (None, "", [], {}, _UNSET_TIME):
            yield prefix + key, _shown(key, value)


def _shown(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _measured(key, value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return _cut(", ".join(value))
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _measured(key: str, number: float) -> str:
    if key.endswith(_BYTES):
        return size(int(number))
    if key.endswith("_speed"):
        return f"{size(int(number))}/s"
    if key.endswith("_seconds"):
        return duration(number)
    if key.endswith("_percent"):
        return f"{number:.1f} %"
    return f"{number:g}" if isinstance(number, float) else str(number)


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE else text[:_VALUE] + "…"
