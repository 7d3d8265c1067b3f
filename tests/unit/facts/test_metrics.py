import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no type information
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lattice_agent.facts.metrics import MetricsSampler
from lattice_agent.wire.base import decode_json, encode
from lattice_agent.wire.metrics import Metrics
from tests.golden_files import exchange
from tests.unit.facts.trees import net_dev, plain_host, write_tree

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCES = ("proc/stat", "proc/loadavg", "proc/meminfo", "proc/net/dev", "proc/uptime")


def test_a_first_sample_has_levels_and_an_estimate_but_no_speeds(tmp_path: Path) -> None:
    sample = MetricsSampler(plain_host(tmp_path)).sample(NOW, 100.0)
    assert sample.model_dump(exclude={"disk_used", "disk_total"}) == {
        "cpu_percent": 25.0,
        "load1": 0.5,
        "load5": 0.25,
        "load15": 0.1,
        "memory_used": 2 * 2**30,
        "memory_total": 8 * 2**30,
        "net_rx_bytes": 5000,
        "net_tx_bytes": 700,
        "net_rx_speed": 0.0,
        "net_tx_speed": 0.0,
        "uptime_seconds": 86400,
        "collected_at": NOW,
    }
    assert 0 < sample.disk_used <= sample.disk_total


def test_a_second_sample_has_rates_since_the_first(tmp_path: Path) -> None:
    sampler = MetricsSampler(plain_host(tmp_path))
    sampler.sample(NOW, 100.0)
    write_tree(
        tmp_path,
        {"proc/stat": "cpu 1075 200 300 8025 500 10 20 30 475 50\n", "proc/net/dev": net_dev(eth0=(6000, 900))},
    )
    later = sampler.sample(NOW, 110.0)
    assert (later.cpu_percent, later.net_rx_speed, later.net_tx_speed) == (75.0, 100.0, 20.0)


def test_a_sample_too_soon_repeats_the_rates_and_keeps_the_baseline(tmp_path: Path) -> None:
    sampler = MetricsSampler(plain_host(tmp_path))
    sampler.sample(NOW, 100.0)
    write_tree(tmp_path, {"proc/net/dev": net_dev(eth0=(6000, 900))})
    soon, backwards = sampler.sample(NOW, 100.1), sampler.sample(NOW, 99.0)
    assert (soon.net_rx_bytes, soon.net_rx_speed) == (6000, 0.0)
    assert (backwards.cpu_percent, backwards.net_rx_speed) == (25.0, 0.0)
    assert sampler.sample(NOW, 110.0).net_rx_speed == 100.0


def test_two_samplers_do_not_disturb_each_other(tmp_path: Path) -> None:
    root = plain_host(tmp_path)
    regular, other = MetricsSampler(root), MetricsSampler(root)
    regular.sample(NOW, 100.0)
    write_tree(root, {"proc/net/dev": net_dev(eth0=(6000, 900))})
    other.sample(NOW, 105.0)
    assert regular.sample(NOW, 110.0).net_rx_speed == 100.0


def test_trap_01_a_sample_has_the_keys_and_number_types_of_the_go_agent(tmp_path: Path) -> None:
    sent = decode_json(encode(MetricsSampler(plain_host(tmp_path)).sample(NOW, 100.0)))
    recorded = exchange("metrics-second").body["metrics"]
    assert sent.keys() == recorded.keys()
    for key, value in recorded.items():
        if type(value) is int and not key.endswith("_speed"):
            assert type(sent[key]) is int, key
        elif key != "collected_at":
            assert type(sent[key]) in (int, float), key
    assert sent["collected_at"] == "2026-01-02T03:04:05Z"


def test_an_empty_host_gives_an_empty_sample(tmp_path: Path) -> None:
    sample = MetricsSampler(tmp_path).sample(NOW, 100.0)
    assert sample.model_copy(update={"disk_used": 0, "disk_total": 0}) == Metrics(collected_at=NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.binary(max_size=200), min_size=5, max_size=5), st.floats(-1e3, 1e9))
def test_whatever_the_files_hold_a_sample_comes_out_and_can_be_sent(
    tmp_path: Path, contents: list[bytes], later: float
) -> None:
    sampler = MetricsSampler(plain_host(tmp_path))
    sampler.sample(NOW, 0.0)
    write_tree(tmp_path, dict(zip(SOURCES, contents, strict=True)))
    sample = sampler.sample(NOW, later)
    assert encode(sample)
    assert 0 <= sample.cpu_percent <= 100
    assert min(sample.net_rx_speed, sample.net_tx_speed) >= 0


def test_this_machine_agrees_with_psutil() -> None:
    sample = MetricsSampler().sample(NOW, 0.0)
    memory = psutil.virtual_memory()
    assert sample.memory_total == memory.total
    assert sample.memory_used == pytest.approx(memory.total - memory.available, abs=256 * 2**20)
    assert sample.disk_total == psutil.disk_usage("/").total
    assert (sample.load1, sample.load5, sample.load15) == pytest.approx(psutil.getloadavg(), abs=1.0)
    every = psutil.net_io_counters(pernic=True)
    assert sample.net_rx_bytes <= sum(one.bytes_recv for one in every.values())
    assert math.isfinite(sample.cpu_percent)


def test_the_metrics_of_linux_import_no_psutil() -> None:
    code = (
        "import sys, datetime; from lattice_agent.facts.metrics import MetricsSampler; "
        "MetricsSampler().sample(datetime.datetime.now(datetime.UTC), 0.0); sys.exit('psutil' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
