"""What one source says about the virtualisation of a host, and how the report cites it."""

from typing import NamedTuple

from lattice_agent.facts.lexical import clean_text
from lattice_agent.wire.host_inventory import TEXT_BYTES


class Finding(NamedTuple):
    """A name of systemd-detect-virt(1), and the source and value that it was told by."""

    name: str
    evidence: str


def cite(source: str, value: str = "") -> str:
    """``source: value``, or the source alone where its being there is what was found; within the wire's bound."""
    return clean_text(f"{source}: {value}" if value else source, TEXT_BYTES)
