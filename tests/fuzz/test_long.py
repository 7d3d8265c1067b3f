"""Some seconds of fuzzing for every target, from a seed that is always the same: what ``make long`` has of it."""

import os
from pathlib import Path

import pytest

from tests.fuzz.campaign import Plan, hunt_all
from tests.fuzz.rooms import ROOMS, targets_of

SECONDS = 1
SEED = 14


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_nothing_is_found(room: str, tmp_path: Path) -> None:
    targets = targets_of(room)
    plan = Plan(SECONDS, SEED, tmp_path, found=tmp_path / "found")

    hunts = list(hunt_all(targets, plan, os.cpu_count() or 1))

    assert [hunted for hunted in hunts if hunted.findings or hunted.trouble] == []
    for target, hunted in zip(targets, hunts, strict=True):
        assert hunted.executions >= len(list(target.corpus.iterdir()))
