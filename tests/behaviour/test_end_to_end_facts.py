"""What a real agent tells a real control plane of its host, and what it keeps to itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs import steered_server
from tests.rigs.cutting_proxy import CuttingProxy, cutting_proxy
from tests.rigs.real_processes import Site, wait_until
from tests.rigs.steered_plane import Plane, control_plane

pytestmark = pytest.mark.slow

HEARTBEAT, INVENTORY = "/api/agent/metrics", "/api/agent/inventory"


@pytest.fixture
def extended(tmp_path: Path) -> Iterator[Plane]:
    place = tmp_path / "extended"
    place.mkdir()
    with control_plane(place, wire=steered_server.EXTENDED) as running:
        yield running


@pytest.fixture
def base(tmp_path: Path) -> Iterator[tuple[Plane, CuttingProxy]]:
    place = tmp_path / "base"
    place.mkdir()
    with control_plane(place, wire=steered_server.BASE) as running, cutting_proxy(running.url) as proxy:
        yield running, proxy


@pytest.mark.long
def test_inventory_and_details_arrive(extended: Plane, tmp_path: Path) -> None:
    site = Site(tmp_path, extended.url, extended.add_node())
    with site.agent("-interval", "0.6s") as agent:
        inventory = wait_until(lambda: extended.inventory(site.node), "an inventory")
        assert inventory.get("gaps", []) == []
        assert inventory["cpu"]["threads"] >= 1
        assert inventory["collected_at"] is not None

        def with_rates() -> dict[str, object] | None:
            detail = extended.node(site.node)["metrics_detail"] or {}
            return detail if "cpu" in detail and "loop_lag_s" in detail["agent"] else None

        detail = wait_until(with_rates, "detailed metrics with rates")
        cost = detail["agent"]
        assert 0 < cost["cpu_seconds"] < 60
        assert 8 * 2**20 < cost["pss_bytes"] < 200 * 2**20
        assert 3 < cost["open_files"] < 200
        assert (cost["tasks_running"], cost["results_waiting"]) == (0, 0)
        assert 0 <= cost["loop_lag_s"] < 5
        assert "gaps" not in detail
        assert agent.stop() == 0


@pytest.mark.long
def test_the_owner_s_choice_of_interfaces_is_what_counts(extended: Plane, tmp_path: Path) -> None:
    site = Site(tmp_path, extended.url, extended.add_node())
    with site.agent("--facts-interfaces", "lo"):
        wait_until(lambda: extended.node(site.node)["metrics_detail"], "detailed metrics")
    node = extended.node(site.node)
    assert [one["name"] for one in node["metrics_detail"]["interfaces"]] == ["lo"]
    assert node["metrics"]["net_rx_bytes"] > 0


@pytest.mark.long
def test_a_control_plane_that_announces_nothing_gets_the_base_wire(
    base: tuple[Plane, CuttingProxy], tmp_path: Path
) -> None:
    plane, proxy = base
    site = Site(tmp_path, proxy.url, plane.add_node())
    with site.agent("-interval", "0.5s"):
        wait_until(lambda: len(proxy.times(HEARTBEAT)) >= 6, "six heartbeats")
    assert proxy.times(INVENTORY) == []
    node = plane.node(site.node)
    assert node["metrics_detail"] is None
    assert node["host_facts"]["os"] == "linux"
