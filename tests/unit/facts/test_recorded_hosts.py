"""The recorded hosts of tests/hosts (its README says what each shows) against the readers."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.inventory.collector import InventoryCollector
from lattice_agent.facts.inventory.families import inventory_families
from lattice_agent.facts.look import Look
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
    facts = collect_host_facts(Look(FOLDER / host / "root"), NOW)

    assert sent(facts, "reported_at") == expected(host, "facts")


@pytest.mark.parametrize("host", HOSTS)
def test_first_metrics_of_a_recorded_host(host: str) -> None:
    metrics = MetricsSampler(FOLDER / host / "root").sample(NOW, 100.0)

    assert sent(metrics, "collected_at", "disk_used", "disk_total") == expected(host, "metrics")


@pytest.mark.parametrize("family", sorted(inventory_families()))
@pytest.mark.parametrize("host", [host for host in HOSTS if host != "broken"])
def test_a_family_of_a_recorded_host(host: str, family: str) -> None:
    root = FOLDER / host / "root"

    told = sent(InventoryCollector({family: inventory_families()[family]}, root).collect(NOW), "collected_at")

    assert told.get("gaps", []) == []
    found = told.get(family) or None  # a group with nothing in it says as much as none
    if family == "virtualization":
        found.pop("evidence", None)
    assert found == expected(host, "inventory").get(family)


def test_a_broken_host_costs_families_and_nothing_else() -> None:
    told = InventoryCollector(inventory_families(), FOLDER / "broken/root").collect(NOW)

    assert encode(told)
    assert {gap.family for gap in told.gaps} <= set(inventory_families())
    for gap in told.gaps:
        assert gap.reason.startswith("/"), gap  # FactsError names a path; anything else is a fault


@pytest.mark.parametrize("host", HOSTS)
def test_an_expected_inventory_is_a_message_of_the_wire(host: str) -> None:
    inventory = decode(HostInventory, (FOLDER / host / "inventory.json").read_bytes())

    assert sent(inventory, "collected_at") == expected(host, "inventory")
