"""One control plane for all faults that are not its own."""

from collections.abc import Iterator

import pytest

from tests.rigs.steered_plane import SteeredPlane, control_plane
from tests.rigs.troubled_wire import TroubledWire, troubled_wire


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteeredPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture
def wire(plane: SteeredPlane) -> Iterator[TroubledWire]:
    with troubled_wire(plane.url) as wire:
        yield wire
