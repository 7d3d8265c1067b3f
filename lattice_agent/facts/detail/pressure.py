"""Pressure stall information: ``/proc/pressure/*`` (kernel documentation, accounting/psi)."""

import re
from typing import Final

from lattice_agent.wire.metrics_detail import Pressure, Pressures

_LINE: Final = re.compile(r"^(some|full) avg10=([0-9]{1,6}\.[0-9]{1,6}) avg60=([0-9]{1,6}\.[0-9]{1,6}) ", re.MULTILINE)


def parse_pressure(text: str) -> Pressure | None:
    """Lines ``some avg10=0.12 avg60=0.03 …`` and ``full …``; ``None`` when there is neither.

    Before Linux 5.13 the file of the CPU has no line ``full``.
    """
    shares = {kind: (_percent(avg10), _percent(avg60)) for kind, avg10, avg60 in _LINE.findall(text)}
    if not shares:
        return None
    (some_10s, some_60s), (full_10s, full_60s) = (shares.get(kind, (None, None)) for kind in ("some", "full"))
    return Pressure(some_10s=some_10s, some_60s=some_60s, full_10s=full_10s, full_60s=full_60s)


def _percent(text: str) -> float:
    return min(100.0, float(text))


def pressures(cpu: str, memory: str, io: str) -> Pressures | None:
    """The three files; ``None`` when the kernel measures no pressure (or ``psi=0``)."""
    group = Pressures(cpu=parse_pressure(cpu), memory=parse_pressure(memory), io=parse_pressure(io))
    return group if group != Pressures() else None
