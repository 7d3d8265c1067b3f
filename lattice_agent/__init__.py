"""The Lattice node agent: leases scripts from a control plane, runs them bounded, reports results and facts."""

__version__ = "0.1.0"
