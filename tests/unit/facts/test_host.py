from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # publishes no type information
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.look import Look
from lattice_agent.wire.base import decode_json, encode
from lattice_agent.wire.facts import HostFacts
from tests.golden_files import exchange
from tests.unit.facts.trees import plain_host, write_tree

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
SOURCES = ("proc/stat", "proc/cpuinfo", "proc/meminfo", "proc/uptime", "etc/os-release", "proc/sys/kernel/hostname")


def test_every_field_of_a_plain_host(tmp_path: Path) -> None:
    assert collect_host_facts(Look(plain_host(tmp_path)), NOW) == HostFacts(
        hostname="node-1",
        os="linux",
        platform="debian",
        platform_version="12",
        kernel_version="6.1.0-18-amd64",
        arch="amd64",
        cpu_cores=2,
        cpu_model="Example CPU @ 2.00GHz",
        memory_total=8 * 2**30,
        swap_total=2**20,
        virtualization="vm",
        boot_time=datetime(2026, 1, 1, tzinfo=UTC),
        reported_at=NOW,
    )


def test_trap_01_facts_have_the_keys_types_and_times_of_the_go_agent(tmp_path: Path) -> None:
    root = write_tree(plain_host(tmp_path), {"proc/meminfo": "MemTotal: 8388608 kB\n"})  # no swap: left out, as there
    sent = decode_json(encode(collect_host_facts(Look(root), NOW)))
    recorded = exchange("metrics-first").body["host_facts"]
    assert sent.keys() == recorded.keys()
    assert [type(sent[key]) for key in recorded] == [type(value) for value in recorded.values()]
    assert sent["boot_time"] == "2026-01-01T00:00:00Z"


def test_boot_time_does_not_move_between_reports(tmp_path: Path) -> None:
    root = plain_host(tmp_path)
    first = collect_host_facts(Look(root), NOW)
    write_tree(root, {"proc/uptime": "86410.02 1.0\n"})
    assert collect_host_facts(Look(root), NOW + timedelta(seconds=10.4)).boot_time == first.boot_time


def test_a_host_without_btime_falls_back_to_its_uptime(tmp_path: Path) -> None:
    root = write_tree(plain_host(tmp_path), {"proc/stat": "cpu 1 2 3 4\n"})
    assert collect_host_facts(Look(root), NOW).boot_time == datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC)


def test_an_empty_host_gives_empty_facts(tmp_path: Path) -> None:
    assert collect_host_facts(Look(tmp_path), NOW) == HostFacts(os="linux", virtualization="unknown", reported_at=NOW)


def test_the_container_manager_names_itself_in_the_environment(tmp_path: Path) -> None:
    assert collect_host_facts(Look(plain_host(tmp_path)), NOW, "systemd-nspawn").virtualization == "systemd-nspawn"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.binary(max_size=200), min_size=6, max_size=6))
def test_whatever_the_files_hold_facts_come_out_and_can_be_sent(tmp_path: Path, contents: list[bytes]) -> None:
    root = write_tree(plain_host(tmp_path), dict(zip(SOURCES, contents, strict=True)))
    assert encode(collect_host_facts(Look(root), NOW))


def test_this_machine_agrees_with_psutil() -> None:
    facts = collect_host_facts(Look(Path("/")), NOW)
    assert facts.memory_total == psutil.virtual_memory().total
    assert facts.swap_total == psutil.swap_memory().total
    assert facts.cpu_cores == len(psutil.Process().cpu_affinity())
    assert facts.boot_time == datetime.fromtimestamp(int(psutil.boot_time()), UTC)
    assert facts.virtualization
