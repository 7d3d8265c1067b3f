"""Collects the inventory: every family under its deadline, and only those anew whose fingerprint has moved.

Theory of operation. A fingerprint costs some microseconds, reading a family up to some milliseconds (a package
database, the CPUs of a large machine). So each family is kept with the fingerprint it was read under, and read again
only when that is another one. A family may have a quick part that changes all the time (how full a file system is): it
is refreshed at every collection. What fails or hangs is a gap with its reason, and costs the others nothing.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from lattice_agent.facts.deadline import DeadlineReader, Missed
from lattice_agent.facts.lexical import clean_text
from lattice_agent.wire.fact import Gap
from lattice_agent.wire.host_inventory import TEXT_BYTES, HostInventory

FAMILY_DEADLINE_S: Final = 2.0
"""Time for one family; the slowest needs some milliseconds."""


@dataclass(frozen=True, slots=True)
class Family:
    """How one field of the inventory is read; see ``facts.inventory`` for the contract of the functions."""

    fingerprint: Callable[[Path], Hashable]
    read: Callable[[Path], Any]
    refresh: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: Hashable
    read: Any
    value: Any


class InventoryCollector:
    """Keeps what was read last. For one caller at a time; it blocks, so that callers with a loop use a thread."""

    def __init__(
        self, families: Mapping[str, Family], root: Path = Path("/"), deadline_s: float = FAMILY_DEADLINE_S
    ) -> None:
        self._families = families
        self._root = root
        self._reader = DeadlineReader[_Kept](deadline_s)
        self._kept: dict[str, _Kept] = {}

    def collect(self, now: datetime) -> HostInventory:
        """The inventory as of ``now`` (aware); never raises. A family takes its deadline at most, and that once."""
        jobs = {name: partial(self._look, name, family) for name, family in self._families.items()}
        found = self._reader.read(jobs)
        self._kept = {name: kept for name, kept in found.items() if isinstance(kept, _Kept)}
        gaps = [_gap(name, missed) for name, missed in found.items() if isinstance(missed, Missed)]
        fields = {name: kept.value for name, kept in self._kept.items()}
        return HostInventory(collected_at=now, gaps=tuple(gaps), **fields)

    def _look(self, name: str, family: Family) -> _Kept:
        fingerprint = family.fingerprint(self._root)
        kept = self._kept.get(name)
        if kept is None or kept.fingerprint != fingerprint:
            value = family.read(self._root)
            return _Kept(fingerprint, value, value)
        # Refreshed is what was read, not what was refreshed last: a part that failed once is asked again.
        return kept if family.refresh is None else _Kept(fingerprint, kept.read, family.refresh(kept.read))


def _gap(name: str, missed: Missed) -> Gap:
    return Gap(family=name, reason=clean_text(missed.reason, TEXT_BYTES))
