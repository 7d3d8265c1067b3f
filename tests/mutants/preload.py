"""Loads, before the first fork, what every trial needs and what no mutant can be part of."""

import gc
import importlib
import sys
from typing import Final

from tests.mutants.subjects import subjects

MODULES: Final = (
    *("pytest", "hypothesis.strategies", "hypothesis.internal.conjecture.engine", "trio", "pytest_trio"),
    *("lattice_agent.errors", "lattice_agent.wire.results", "lattice_agent.wire.usage", "lattice_agent.wire.facts"),
    *("lattice_agent.wire.metrics", "lattice_agent.wire.policy", "lattice_agent.wire.runtime"),
    *("lattice_agent.wire.control", "server_stub.errors", "server_stub.times"),
)


def load() -> None:
    """Raises RuntimeError if a module that is to be changed comes along: its mutants would never be seen."""
    for name in MODULES:
        importlib.import_module(name)
    if early := [subject.module for subject in subjects() if subject.module in sys.modules]:
        raise RuntimeError(f"loaded too early to be changed: {', '.join(early)}")
    gc.freeze()  # so that the forked processes do not go through all this to find rubbish
