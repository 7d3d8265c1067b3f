"""docs/facts.md is what the code says, and the code says something of every field."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lattice_agent.facts.document import _model_in, render
from lattice_agent.wire.base import WireModel
from lattice_agent.wire.fact import Fact
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.host_inventory import HostInventory
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.metrics_detail import MetricsDetail

PAGE = Path(__file__).parents[3] / "docs/facts.md"
MESSAGES = (HostFacts, Metrics, HostInventory, MetricsDetail)
OF_THE_REPORT = {"collected_at", "gaps"}
"""Not facts of the host; described with the message."""


def groups(model: type[WireModel]) -> Iterator[type[WireModel]]:
    yield model
    for field in model.model_fields.values():
        inner = _model_in(field.annotation)
        if inner is not None and inner.__name__ != "Gap":
            yield from groups(inner)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render()


@pytest.mark.parametrize("message", MESSAGES)
def test_every_field_is_described(message: type[WireModel]) -> None:
    for group in groups(message):
        for name, field in group.model_fields.items():
            described = [item for item in field.metadata if isinstance(item, Fact)]
            if described:
                (fact,) = described
                assert fact.meaning
                assert fact.source
                assert fact.absent
                assert f"{name}` |" in render()
            else:
                assert name in OF_THE_REPORT or _model_in(field.annotation) is not None, f"{group.__name__}.{name}"
