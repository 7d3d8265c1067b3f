"""``lattice-agent facts`` and ``lattice-agent metrics``, as operators and programs call them."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lattice_agent.facts.inventory.families import inventory_families
from lattice_agent.wire.base import parse
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.host_inventory import HostInventory
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.metrics_detail import MetricsDetail
from tests.hostile.world import REPOSITORY, World
from tests.rigs.real_processes import COMMAND
from tests.unit.facts.trees import plain_host, write_tree

HOSTS = REPOSITORY / "tests/hosts"
OUTER_S = 30


def agent(*words: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=OUTER_S, check=False, **options)


def told(*words: str | Path) -> dict[str, Any]:
    ran = agent(*words)
    assert (ran.returncode, ran.stderr) == (0, "")
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def test_json_has_every_family_as_it_is_sent() -> None:
    document = told("facts", "--json")
    assert list(document) == ["host_facts", *inventory_families(), "gaps"]
    assert document["gaps"] == []
    assert parse(HostFacts, document.pop("host_facts")).os == "linux"
    assert parse(HostInventory, document).cpu is not None


def test_a_recorded_host_is_told_as_itself() -> None:
    root = HOSTS / "raspberry-pi/root"
    document = told("facts", "--json", "--root", root)
    assert document["host_facts"]["arch"] == "arm64"
    expected = json.loads((HOSTS / "raspberry-pi/inventory.json").read_text())
    assert document["disks"] == expected["disks"]


def test_one_family_and_several() -> None:
    assert list(told("facts", "--json", "--family", "cpu")) == ["cpu", "gaps"]
    document = told("facts", "--json", "-family", "clock", "-family=host_facts")
    assert list(document) == ["host_facts", "clock", "gaps"]


def test_the_table_names_what_it_shows() -> None:
    ran = agent("facts", "--root", HOSTS / "bare-metal-nvme-lvm-bond/root", "--family", "disks", "--family", "memory")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert "memory" in lines
    assert any(line.split()[0] == "NAME" for line in lines if line.strip())
    assert any("nvme0n1" in line and "iB" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("facts", "--family", "wheels"), "there is no family 'wheels'; the families are host_facts, cpu, memory,"),
        (("facts", "--root", "/nowhere"), "--root '/nowhere' is no directory"),
        (("facts", "--json", "--table"), "either JSON or tables"),
        (("facts", "disks"), "takes no words"),
        (("facts", "--jason"), "flag provided but not defined: -jason"),
        (("metrics", "--interval", "1ms"), "an interval of 500ms or more"),
        (("metrics", "--watch", "--root", str(HOSTS / "vmware/root")), "a recorded host does not change"),
        (("metrics", "now"), "no words are taken"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(words: tuple[str, ...], said: str) -> None:
    ran = agent(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_help_is_given() -> None:
    for command, flag in (("facts", "-family"), ("metrics", "-watch")):
        ran = agent(command, "-h")
        assert ran.returncode == 0
        assert flag in ran.stderr


def test_a_broken_host_is_told_without_a_traceback() -> None:
    ran = agent("facts", "--root", HOSTS / "broken/root")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "REASON" in ran.stdout


def test_what_a_host_says_of_itself_does_not_reach_the_terminal(tmp_path: Path) -> None:
    root = write_tree(plain_host(tmp_path), {"etc/os-release": 'ID=x\nPRETTY_NAME="a\x1b]0;owned\x07\u202eb"\n'})
    ran = agent("facts", "--root", root)
    assert "\x1b" not in ran.stdout
    assert "\u202e" not in ran.stdout
    assert "a]0;owned" in ran.stdout


@pytest.mark.long
def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    ran = subprocess.run(
        f"{COMMAND} metrics --watch --json --interval 500ms | head -n 1",
        shell=True, capture_output=True, text=True, timeout=OUTER_S, check=True, env={**os.environ},
    )  # fmt: skip
    assert ran.stderr == ""
    assert json.loads(ran.stdout)["metrics"]["uptime_seconds"] > 0


@pytest.mark.long
def test_metrics_are_rates_over_the_interval() -> None:
    document = told("metrics", "--json", "--interval", "500ms")
    assert parse(Metrics, document["metrics"]).memory_total > 0
    detail = parse(MetricsDetail, document["metrics_detail"])
    assert detail.cpu is not None
    assert detail.cpu.user is not None
    assert detail.kernel is not None
    assert all(one.rx_rate is not None for one in detail.interfaces)


def test_a_recorded_host_has_levels_and_no_rates() -> None:
    document = told("metrics", "--json", "--root", HOSTS / "debian-kvm/root")
    assert "cpu" not in document["metrics_detail"]
    assert document["metrics_detail"]["kernel"]["open_files"] > 0


@pytest.mark.long
def test_a_watch_ends_with_control_c() -> None:
    process = subprocess.Popen(
        [COMMAND, "metrics", "--watch", "--interval", "500ms"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "metrics\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(OUTER_S) == 0
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.long
@pytest.mark.needs_root
def test_an_ordinary_user_gets_the_same_families() -> None:
    with World() as world:
        process = world.start(
            [COMMAND, "facts", "--json"],
            uid=65534,
            environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = process.communicate(timeout=OUTER_S)
    assert (process.returncode, err) == (0, b"")
    document = json.loads(out)
    assert document["gaps"] == []
    as_root = told("facts", "--json")
    for family in ("cpu", "memory", "disks", "system", "packages"):
        assert document[family] == as_root[family]
