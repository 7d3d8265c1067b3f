"""What an agent reported about itself, as readable lines; there is an end to how much is shown."""

from collections.abc import Iterable, Mapping
from typing import Final

from server_stub.cli.text import fields, visible
from server_stub.reported import pairs

_LINES: Final = 200  # of one section; what is beyond is counted
_VALUE: Final = 500  # characters


def section(reported: Mapping[str, object]) -> list[str]:
    """``key  value`` lines, nested keys joined by dots, empty values left out."""
    found = list(pairs(reported, _VALUE))
    lines = fields(found[:_LINES])
    if len(found) > _LINES:
        lines.append(f"... and {len(found) - _LINES} more; see them with --json")
    return lines


def items(reported: Iterable[object]) -> list[str]:
    """One line for each group of fields: ``key value, key value``; what is no group is left out."""
    lines = []
    for number, item in enumerate(reported):
        if number == _LINES:
            lines.append("... and more; see them with --json")
            break
        if isinstance(item, Mapping):
            lines.append(", ".join(f"{visible(key)} {visible(value)}" for key, value in pairs(item, _VALUE)))
    return lines
