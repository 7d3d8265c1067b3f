"""Bounded execution of scripts: a library of its own that imports nothing of the agent but ``lattice_agent.errors``.

The spawner imports this package at its start, so nothing is imported here; take names from their modules:
``policy.decide`` makes a ``plan.Plan``, ``runner.open_runner`` runs it, ``outcome.Outcome`` says how it ended.
"""
