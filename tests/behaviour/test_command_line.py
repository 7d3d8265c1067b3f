"""The command as scripts and unit files call it: what is printed where, and the exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lattice_agent import __version__
from tests.rigs.stub_agent import call, make_stub, running

TOKEN = "not-a-real-token-0123456789"
IDENTITY = {"LATTICE_NODE_ID": "n1", "LATTICE_NODE_TOKEN": TOKEN, "LATTICE_STATE_DIR": "/nonexistent"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stub(tmp_path_factory.mktemp("stub"))


def outcome(*words: str, **environ: str) -> tuple[int, str, str]:
    done = call(words, environ)
    return done.returncode, done.stdout, done.stderr


def test_the_installed_command_prints_the_version_alone() -> None:
    command = Path(sys.executable).parent / "lattice-agent"
    done = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_compat_json_is_the_line_of_the_reference() -> None:
    code, out, err = outcome("--compat-json")
    assert (code, err) == (0, "")
    assert out == '{"server_min":"v0.2.2-alpha.2","dashboard_min":"v0.2.2-alpha.7","channel":"alpha"}\n'
    assert json.loads(out)["channel"] == "alpha"


def test_one_shot_modes_that_need_no_network_load_no_network_code() -> None:
    program = (
        "import sys; from lattice_agent.cli import main; sys.argv[1:] = ['-version']; main();"
        "print(sorted({'trio', 'httpx', 'pydantic', 'ssl', 'socket', 'logging', 'prctl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_on_stderr_and_ends_well(word: str) -> None:
    code, out, err = outcome(word)
    assert (code, out) == (0, "")
    assert err.startswith("Usage of lattice-agent:\n")
    assert "  -allow-exec\n" in err


@pytest.mark.parametrize(
    ("words", "first_line"),
    [
        (("-alow-exec",), "flag provided but not defined: -alow-exec"),
        (("-token", TOKEN, "-nope=" + TOKEN), "flag provided but not defined: -nope"),
        (("-interval", "10"), 'invalid value "10" for flag -interval: parse error'),
        (("-allow-exec=maybe",), 'invalid boolean value "maybe" for -allow-exec: parse error'),
        (("-server",), "flag needs an argument: -server"),
        (("-version", "-nope"), "flag provided but not defined: -nope"),
        (("--resume-fd=3", "-version"), "flag provided but not defined: -resume-fd"),
    ],
)
def test_what_does_not_parse_ends_with_2_and_the_usage_text(words: tuple[str, ...], first_line: str) -> None:
    code, out, err = outcome(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"{first_line}\nUsage of lattice-agent:\n")
    assert TOKEN not in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("start",), 'lattice-agent: unknown command "start"; flags begin with a dash; see lattice-agent -h'),
        (
            ("--resume-fd=0",),
            "lattice-agent: --resume-fd=0 does not name a call of this process; "
            "the argument is internal: start lattice-agent without it",
        ),
    ],
)
def test_a_call_that_makes_no_sense_is_one_line(words: tuple[str, ...], line: str) -> None:
    assert outcome(*words) == (os.EX_USAGE, "", f"{line}\n")


def test_argv_that_is_not_utf8_is_said_in_ascii() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lattice_agent", b"-n\xff\xfepe"], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"flag provided but not defined: -n\\udcff\\udcfepe\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("-interval", "0"), "-interval is 0s; it must be at least 0.1s"),
        (("-interval=-5s",), "-interval is -5s; it must be at least 0.1s"),
        (("-slots", "65"), "-slots is 65; it must be between 1 and 64"),
        (("-token-file", "/nonexistent/token"), "LATTICE_NODE_TOKEN and -token-file are both set"),
        (("-proxy-usage-secret", "0123456789"), "-proxy-usage-secret is set without a usage URL"),
        (("-config", "/nonexistent/agent.toml"), "cannot read /nonexistent/agent.toml: No such file or directory"),
        (("-server", "ftp://c.example"), "control plane URL 'ftp://c.example' is refused: scheme 'ftp' is neither"),
        (
            ("-server", "http://192.0.2.1"),
            "control plane URL 'http://192.0.2.1' is refused: it would send the node token",
        ),
    ],
)
def test_weak_point_11_bad_settings_are_one_line_and_exit_78(python: Path, words: tuple[str, ...], line: str) -> None:
    done = call(words, IDENTITY, python=python)
    assert done.returncode == os.EX_CONFIG
    assert done.stderr.startswith(f"lattice-agent: {line}")
    assert done.stderr.count("\n") == 1
    assert "; " in done.stderr.rstrip("\n").removeprefix(f"lattice-agent: {line}")  # the next step for a human


@pytest.mark.parametrize("address", ["10.0.0.1", "203.0.113.9", "not an address"])
def test_weak_point_08_a_public_ip_the_server_would_refuse_does_not_stop_the_start(python: Path, address: str) -> None:
    with running(python, ("-public-ip", address), IDENTITY) as agent:
        assert f"public_ip4='{address}'" in agent.seen["settings"]


GO_UNIT = """
    -server https://control.example/lattice/ -node-id=n1 --interval 1m30s -allow-exec -allow-root-exec=true
    -no-exec=false
    -task-cgroup-root auto -task-cgroup-memory-max 268435456 -task-work-root /var/lib/lattice/work -allow-terminal=true
    -terminal-transport stream -ip-mode static -public-ip 192.0.2.1 -wg-port=51820 -ssh-alerts
    -proxy-usage-file /run/u.json -proxy-usage-timeout 1500ms -singbox-discover -log-state-dir /var/lib/lattice/logs
"""


def test_a_unit_of_the_go_agent_works_unchanged(python: Path) -> None:
    with running(python, GO_UNIT.split(), IDENTITY | {"LATTICE_SINGBOX_META": "/etc/sing-box/meta.json"}) as agent:
        settings = agent.seen["settings"]
        for expected in (
            "base_url='https://control.example/lattice'",
            "interval_s=90.0",
            "allow_exec=True, allow_root_exec=True, no_exec=False",
            "work_root=PosixPath('/var/lib/lattice/work')",
            "wg_port=51820",
            "file=PosixPath('/run/u.json')",
            "timeout_s=1.5",
        ):
            assert expected in settings
        code, _, err = agent.end()
    assert code == 0
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    warned = [message.split(" is set, but ")[0] for message in messages if "is not built" in message]
    assert warned == [
        "-allow-terminal",
        "-terminal-transport",
        "-ssh-alerts",
        "-log-state-dir",
        "-task-cgroup-root",
        "-task-cgroup-memory-max",
        "-singbox-discover",
        "LATTICE_SINGBOX_META",
    ]
    assert any("offline after 90 s" in message for message in messages)


def test_words_after_the_flags_are_ignored_with_a_warning_that_does_not_show_them(python: Path) -> None:
    with running(python, ("-allow-exec", "true", "-slots", "7"), IDENTITY) as agent:
        assert "slots=2" in agent.seen["settings"]
        _, _, err = agent.end()
    assert "3 words after the flags are ignored" in err
    assert "slots" not in err


def test_debug_lines_are_written_only_when_asked_for(python: Path) -> None:
    for words, expected in (((), False), (("-debug",), True)):
        with running(python, words, IDENTITY) as agent:
            assert f"debug={expected}" in agent.seen["settings"]
