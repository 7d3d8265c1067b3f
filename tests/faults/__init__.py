"""Faults of the machine, the network and the other side, made for real: what agent and control plane do meanwhile."""
