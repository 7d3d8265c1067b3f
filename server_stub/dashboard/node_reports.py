"""What a node has reported of itself, as names and values; there is an end to how much is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from server_stub.reported import pairs
from server_stub.store.records import Presence

_ROWS: Final = 200
"""Of one family; the API has the rest."""
_COLUMNS: Final = 10
_VALUE: Final = 4_096
"""Characters."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Report:
    """One document or family: pairs, or a table for a list of alike things."""

    title: str
    pairs: Pairs = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    amount: int = 0
    """Of the things in the list, shown or not."""


def reports(presence: Presence) -> tuple[Report, ...]:
    """The documents of the last heartbeat; empty ones are left out."""
    documents = (
        ("Host", presence.host_facts),
        ("Addresses", asdict(presence.addresses)),
        ("Metrics", presence.metrics),
        ("Metrics in detail", presence.metrics_detail),
        ("Agent", presence.agent_runtime),
        ("Policy", presence.policy),
    )
    found = (Report(title, _pairs(document)) for title, document in documents if document)
    return tuple(report for report in found if report.pairs)


def families(inventory: Mapping[str, Any]) -> tuple[Report, ...]:
    """Of the inventory; what is neither a family nor a list of things is left out."""
    found = (_family(title, content) for title, content in islice(inventory.items(), _ROWS))
    return tuple(report for report in found if report is not None)


def _family(title: str, content: Any) -> Report | None:
    if isinstance(content, Mapping):
        told = _pairs(content)
        return Report(title, told) if told else None
    if isinstance(content, Sequence) and not isinstance(content, str):
        return _list(title, [item for item in content if isinstance(item, Mapping)])
    return None


def _list(title: str, things: Sequence[Mapping[str, Any]]) -> Report | None:
    """Columns are the keys in the order in which they first appear."""
    told = [dict(_pairs(thing)) for thing in things[:_ROWS]]
    columns = tuple(islice(dict.fromkeys(key for thing in told for key in thing), _COLUMNS))
    rows = tuple(tuple(thing.get(column, "") for column in columns) for thing in told)
    return Report(title, columns=columns, rows=rows, amount=len(things)) if columns else None


def _pairs(document: Mapping[str, Any]) -> Pairs:
    return tuple(islice(pairs(document, _VALUE), _ROWS))
