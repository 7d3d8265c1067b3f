"""What the readers of the inventory raise, and nothing else."""

from lattice_agent.errors import LatticeError


class FactsError(LatticeError):
    """A family of facts cannot be had; the message names the source and the reason."""

    default_hint = "see docs/facts.md for what the family is read from"
