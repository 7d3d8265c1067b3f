"""Facts for people: groups of fields as lines, lists of groups as tables, values in the unit their field declares."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Final

from pydantic.fields import FieldInfo

from lattice_agent.logs import clean
from lattice_agent.wire.base import WireModel
from lattice_agent.wire.fact import Fact

_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_CELL: Final = 48  # columns of a table's cell; JSON has the whole value
_FIRST_WIDTH: Final = 26


def group_lines(group: WireModel) -> Iterator[str]:
    """One line for each field that is known; a group inside a group is indented under its name."""
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, WireModel):
            inner = list(group_lines(value))
            if inner:
                yield from (f"  {name}", *(f"  {line}" for line in inner))
        elif _is_list_of_groups(value):
            yield from (f"  {name}", *(f"  {line}" for line in table_lines(value)))
        elif (shown := shown_value(value, field)) != "":
            yield f"  {name:<{_FIRST_WIDTH}}{shown}"


def table_lines(groups: Sequence[WireModel]) -> Iterator[str]:
    """A table with a column for each field that any of the groups knows."""
    columns = []
    for name, field in type(groups[0]).model_fields.items() if groups else ():
        cells = [_cut(shown_value(getattr(group, name), field)) for group in groups]
        if any(cells):
            columns.append([name.upper(), *cells])
    widths = [max(map(len, column)) for column in columns]
    for row in zip_longest(*columns, fillvalue=""):
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _is_list_of_groups(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], WireModel)


def shown_value(value: object, field: FieldInfo) -> str:
    """The value as text, harmless on a terminal; "" for one that is not known."""
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, tuple):
        return " ".join(shown_value(item, field) for item in value)
    if isinstance(value, int | float):
        return _measured(value, _unit(field))
    return clean(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def _unit(field: FieldInfo) -> str:
    return next((item.unit for item in field.metadata if isinstance(item, Fact)), "")


def _measured(value: float, unit: str) -> str:
    if unit in ("bytes", "bytes/s"):
        return _in_binary(value) + unit.removeprefix("bytes")
    if unit == "percent":
        return f"{value:.1f} %"
    number = str(value) if isinstance(value, int) else f"{value:.6g}"
    return f"{number} {unit}".strip()


def _in_binary(count: float) -> str:
    power = 0
    while count >= 1024 and power < len(_BINARY) - 1:
        count /= 1024
        power += 1
    return f"{count:.1f} {_BINARY[power]}" if power else f"{count:.0f} B"


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
