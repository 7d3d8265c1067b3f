"""The simulator notices bugs: those that are planted, each within so many seeds."""

import os
from pathlib import Path

import pytest

from tests.sim.planted import PATCHES, applies, look_for


def test_there_are_some() -> None:
    assert len(PATCHES) >= 5


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_still_fits_the_tree(patch: Path) -> None:
    assert applies(patch)


@pytest.mark.long
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_is_found(patch: Path) -> None:
    noticed = look_for(patch, os.cpu_count() or 1)
    assert noticed.is_found, str(noticed)
