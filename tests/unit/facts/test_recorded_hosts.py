"""The recorded hosts of tests/hosts (its README says what each shows) against the readers."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.metrics import MetricsSampler
from lattice_agent.wire.base import WireModel, decode, encode
from lattice_agent.wire.host_inventory import HostInventory

FOLDER = Path(__file__).parents[2] / "hosts"
HOSTS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def expected(host: str, document: str) -> Any:
    """What ``tests/hosts/<host>/<document>.json`` says."""
    return json.loads((FOLDER / host / f"{document}.json").read_text("utf-8"))


def sent(message: WireModel, *without: str) -> dict[str, Any]:
    """The message as it goes over the wire, without the fields that no tree can decide."""
    return {name: value for name, value in json.loads(encode(message)).items() if name not in without}


@pytest.mark.parametrize("host", HOSTS)
def test_facts_of_a_recorded_host(host: str) -> None:
    facts = collect_host_facts(FOLDER / host / "root", NOW)

    assert sent(facts, "reported_at") == expected(host, "facts")


@pytest.mark.parametrize("host", HOSTS)
def test_first_metrics_of_a_recorded_host(host: str) -> None:
    metrics = MetricsSampler(FOLDER / host / "root").sample(NOW, 100.0)

    assert sent(metrics, "collected_at", "disk_used", "disk_total") == expected(host, "metrics")


@pytest.mark.parametrize("host", HOSTS)
def test_an_expected_inventory_is_a_message_of_the_wire(host: str) -> None:
    inventory = decode(HostInventory, (FOLDER / host / "inventory.json").read_bytes())

    assert sent(inventory, "collected_at") == expected(host, "inventory")
