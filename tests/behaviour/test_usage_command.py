"""``lattice-agent usage``: what the sources say, and what the ledger holds."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.real_processes import COMMAND, Site, wait_until
from tests.rigs.steered_plane import control_plane

OUTER_S = 30


def usage(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [COMMAND, "usage", *words],
        capture_output=True,
        text=True,
        timeout=OUTER_S,
        check=False,
        env={"PATH": "/usr/bin"},
    )


@pytest.fixture
def counters(tmp_path: Path) -> Path:
    file = tmp_path / "usage.json"
    write(file, {"ann": 1000, "bob@example": 7})
    return file


def write(file: Path, users: dict[str, int]) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"user_bytes": users, "core_uptime_sec": 90}))
    new.replace(file)


def test_sources_are_read_and_what_is_left_out_is_named(counters: Path, tmp_path: Path) -> None:
    ran = usage("-proxy-usage-file", counters, "-state-dir", tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0] == f"proxy usage file {counters}: ok, core up 90 s"
    assert "  ann  1000" in lines
    assert "  left out: 'bob@example'; [usage.ids] can give it a legal name" in lines
    assert any(line.startswith("totals of the ledger, in bytes: ") and "does not exist" in line for line in lines)


def test_a_name_in_the_configuration_file_is_used(counters: Path, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'[usage]\nfile = "{counters}"\n[usage.ids]\n"bob@example" = "bob"\n[state]\ndir = "{tmp_path}"\n')
    ran = usage("--config", file, "--json")
    assert json.loads(ran.stdout)["sources"][0]["user_bytes"] == {"ann": 1000, "bob": 7}


@pytest.mark.long
def test_a_source_that_fails_is_told_with_the_fix_and_exit_1(counters: Path, tmp_path: Path) -> None:
    words = ("-proxy-usage-file", counters, "-singbox-stats-api", "127.0.0.1:1", "-state-dir", tmp_path)
    ran = usage(*words, "--json")
    assert ran.returncode == 1
    good, bad = json.loads(ran.stdout)["sources"]
    assert (good["status"], bad["status"], bad["kind"]) == ("ok", "error", "singbox-stats")
    assert "nothing listens there; start the core, or correct -singbox-stats-api" in bad["error"]
    only = usage(*words, "--json", "--source", "file")
    assert only.returncode == 0
    assert len(json.loads(only.stdout)["sources"]) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "no source of proxy usage is configured"),
        (("-proxy-usage-file", "/x", "--source", "nothing"), 2, "no source matches; there are: proxy usage file /x"),
        (("-proxy-usage-file", "/x", "now"), 2, "usage takes no 'now'"),
        (("-proxy-usage-url", "http://192.0.2.1/"), 78, "192.0.2.1"),
        (("-proxy-usage-xray-api", "192.0.2.1:1"), 78, "192.0.2.1"),
    ],
)
def test_a_wrong_call_is_one_line(words: tuple[str, ...], code: int, said: str) -> None:
    ran = usage(*words)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.long
def test_the_totals_of_a_running_agent_are_shown(counters: Path, tmp_path: Path) -> None:
    (tmp_path / "plane").mkdir()
    with control_plane(tmp_path / "plane") as plane:
        site = Site(tmp_path, plane.url, plane.add_node())
        flags = ("-proxy-usage-file", str(counters), "-proxy-usage-read-interval", "0.1s")
        words = ("-server", site.server, "-node-id", site.node.id, "-state-dir", site.state, *flags, "--json")

        def totals() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(usage(*words).stdout)["ledger"]["totals"]
            return found

        with site.agent(*flags):
            wait_until(lambda: totals() == {"ann": 0}, "the first reading")
            write(counters, {"ann": 1234})
            wait_until(lambda: totals() != {"ann": 0}, "the second reading")
            assert totals() == {"ann": 234}


def test_a_watch_ends_with_control_c(counters: Path) -> None:
    words = [COMMAND, "usage", "--watch", "--json", "-proxy-usage-file", counters]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["sources"]
        process.send_signal(signal.SIGINT)
        assert process.wait(OUTER_S) == 130
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.long
def test_a_file_that_nobody_writes_for_the_set_time_is_an_error(counters: Path) -> None:
    words = [COMMAND, "usage", "--watch", "--json", "-proxy-usage-file", counters, "-proxy-usage-file-max-age", "0.5s"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first, second = (json.loads(process.stdout.readline())["sources"][0] for _ in range(2))
    finally:
        process.kill()
        process.wait(OUTER_S)
        process.stdout.close()
    assert (first["status"], second["status"]) == ("ok", "error")
    assert "has not changed for" in second["error"]
