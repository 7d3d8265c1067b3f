"""The reference control plane of the Lattice wire protocol."""
