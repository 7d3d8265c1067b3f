"""Pressure stall information: ``/proc/pressure/*`` (kernel documentation, accounting/psi)."""

from lattice_agent.facts.lexical import parse_decimal
from lattice_agent.wire.metrics_detail import Pressure, Pressures


def parse_pressure(text: str) -> Pressure | None:
    """Lines ``some avg10=0.12 avg60=0.03 …`` and ``full …``; ``None`` when there is neither.

    Before Linux 5.13 the file of the CPU has no line ``full``.
    """
    shares: dict[str, float] = {}
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        for field in fields if kind in ("some", "full") else ():
            name, _, value = field.partition("=")
            share = parse_decimal(value)
            if share is not None and name in ("avg10", "avg60"):
                shares[kind + name] = min(100.0, share)
    if not shares:
        return None
    return Pressure(
        some_10s=shares.get("someavg10"),
        some_60s=shares.get("someavg60"),
        full_10s=shares.get("fullavg10"),
        full_60s=shares.get("fullavg60"),
    )


def pressures(cpu: str, memory: str, io: str) -> Pressures | None:
    """The three files; ``None`` when the kernel measures no pressure (or ``psi=0``)."""
    group = Pressures(cpu=parse_pressure(cpu), memory=parse_pressure(memory), io=parse_pressure(io))
    return group if group != Pressures() else None
