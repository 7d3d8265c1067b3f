"""Some seeds of the simulator, and that a seed is a run: the same whoever runs it."""

import os
import subprocess
import sys

import pytest

from tests.rigs.extent import extent
from tests.sim.__main__ import explore
from tests.sim.world import run_seed

SEEDS = extent(6, 600)


@pytest.mark.sized
def test_nothing_that_is_drawn_breaks_a_promise() -> None:
    failed = {
        found.seed: found.violations
        for found in explore(range(SEEDS), extent(1, os.cpu_count() or 1))
        if found.violations
    }
    assert not failed, "python -m tests.sim --seed K shows one"


def traced(seed: int) -> str:
    """In another process, in which every string has another hash."""
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    command = [sys.executable, "-m", "tests.sim", "--seed", str(seed)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout


@pytest.mark.sized
@pytest.mark.parametrize("seed", range(3, extent(4, 13)))
def test_a_seed_is_a_run_to_the_byte(seed: int) -> None:
    here = run_seed(seed).text
    assert here == traced(seed)
    assert here.count("\n") > 100
