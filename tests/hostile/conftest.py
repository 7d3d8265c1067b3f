"""Fixtures of attacks: each is let loose at every place, and looked at from outside before and after."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.everyday import is_everyday
from tests.hostile.places import PLACES, Agents, Place, agents_of

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before ``-m`` leaves out what has the marker."""
    for item in items:
        if item.path.parent == HERE and not is_everyday(item):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="module")
def agents(request: pytest.FixtureRequest) -> Iterator[Agents]:
    """An agent of every kind, in worlds as the module wants them (its variable WORLD)."""
    with agents_of(getattr(request.module, "WORLD", {})) as agents:
        yield agents


@pytest.fixture(params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest, agents: Agents) -> Iterator[Place]:
    """Where the attack is let loose. What was seen has to be said: a test that forgets it fails."""
    who, level = request.param
    place = Place(level, who, agents)
    yield place
    assert place.judged or request.node.session.testsfailed, "nobody said what the attack led to"
