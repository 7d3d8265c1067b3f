"""The command as a whole: options, exit codes, one line for every failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server_stub.cli.commands import node_list
from server_stub.cli.errors import UsageError
from tests.unit.server_stub_cli.rig import HOSTILE, PROGRAM, TOKEN, Control, FakeApi, assert_harmless, refusal, reply


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "COMMAND"),
        (["nod"], "invalid choice: 'nod'"),
        (["node"], "COMMAND"),
        (["node", "show"], "NODE"),
        (["node", "show", ".."], "argument NODE: '..' is not an id"),
        (["node", "add", "n1", "--name", "\x1b[2J"], "argument --name"),
        (["task", "run", "-"], "--interpreter"),
        (["task", "run", "-", "--tag", "T", "--interpreter", "sh"], "argument --tag: 'T' is not a tag"),
        (
            ["task", "run", "-", "--node", "n", "--interpreter", "perl"],
            "argument --interpreter: invalid choice: 'perl'",
        ),
        (["task", "run", "-", "--node", "n", "--interpreter", "sh", "--timeout", "5x"], "argument --timeout: '5x'"),
        (["task", "run", "-", "--node", "n", "--interpreter", "sh", "--output-limit", "0"], "from 1 to 262144"),
        (["task", "list", "--status", "done"], "argument --status"),
        (["kill-switch", "maybe"], "argument state"),
        (["serve"], "--db"),
        (["serve", "--db", "x", "--listen", "8088"], "argument --listen: '8088' is not an address"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_64(control: Control, api: FakeApi, argv: list[str], text: str) -> None:
    ran = control(*argv)

    assert ran.code == os.EX_USAGE
    assert ran.out == ""
    assert ran.err.startswith("lattice-control: ")
    assert text in ran.err
    assert ran.err.endswith("--help\n")
    assert ran.err.count("\n") == 1
    assert_harmless(ran.err)
    assert api.asked == []


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["node", "list", "--token", TOKEN], os.EX_USAGE),
        (["node", "list", f"--token={TOKEN}"], os.EX_USAGE),
        (["node", "list", "--token-file", TOKEN], os.EX_NOINPUT),
        (["node", TOKEN], os.EX_USAGE),
    ],
)
def test_a_token_on_the_command_line_is_refused_and_not_repeated(
    control: Control, api: FakeApi, argv: list[str], code: int
) -> None:
    ran = control(*argv)

    assert ran.code == code
    assert TOKEN not in ran.out + ran.err
    assert api.asked == []


def test_a_refusal_of_the_server_is_one_harmless_line(control: Control, api: FakeApi) -> None:
    api.answers(refusal(400, "bad_request", f"node {HOSTILE} not found"))

    ran = control("node", "list")

    assert ran.code == os.EX_DATAERR
    assert ran.err.count("\n") == 1
    assert "\\x1b]0;owned\\x07" in ran.err
    assert_harmless(ran.err)


def test_an_unexpected_fault_is_one_line_without_a_traceback(
    control: Control, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answers(reply({"nodes": [{"id": "n1"}]}))

    def broken(*_: object) -> object:
        raise KeyError("gone")

    monkeypatch.setattr(node_list, "table", broken)

    ran = control("node", "list")

    assert ran.code == os.EX_SOFTWARE
    assert ran.err.startswith("lattice-control: fault of lattice-control: KeyError at test_main.py:")
    assert ran.err.count("\n") == 1


def test_ctrl_c_is_130(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(node_list, "connect", interrupted)

    ran = control("node", "list")

    assert (ran.code, ran.err) == (130, "lattice-control: interrupted\n")


def test_the_hint_names_the_help_of_the_command() -> None:
    assert UsageError("x").hint() == "see lattice-control --help"


# --- in a process of its own: what the interpreter does with the streams at its end -------------------------


@pytest.fixture
def environment(api: FakeApi) -> dict[str, str]:
    api.answers(reply({"nodes": [{"id": f"Ναύτης-{n}"} for n in range(5000)]}))
    return {"LATTICE_CONTROL_SERVER": api.url, "LATTICE_CONTROL_TOKEN": TOKEN, "PYTHONWARNDEFAULTENCODING": ""}


def test_a_reader_that_leaves_is_no_error(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "node", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (0, b"")


def test_a_full_disk_is_one_line(environment: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [*PROGRAM, "node", "list"], stdout=full, stderr=subprocess.PIPE, env=environment, timeout=30
        )

    assert ran.returncode == os.EX_IOERR
    assert ran.stderr == (
        b"lattice-control: the result cannot be written: No space left on device; make room and try again\n"
    )


@pytest.mark.long
def test_a_terminal_without_unicode_gets_escapes(environment: dict[str, str]) -> None:
    ran = subprocess.run(
        [*PROGRAM, "node", "list"],
        capture_output=True,
        env=environment | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        timeout=30,
    )

    assert (ran.returncode, ran.stderr) == (0, b"")
    assert rb"\u039d\u03b1\u03cd\u03c4\u03b7\u03c2-0" in ran.stdout


@pytest.mark.long
def test_closed_streams_are_no_traceback(environment: dict[str, str]) -> None:
    shell = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *PROGRAM, "node", "list"], env=environment, timeout=30
    )

    assert shell.returncode == 0


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["task", "run", "-", "--node=n1", "--interpreter=sh"], os.EX_NOINPUT, b"the script on standard input cannot"),
        (["operator", "password", "ada"], os.EX_USAGE, b"there is no terminal to ask"),
    ],
)
def test_a_closed_standard_input_is_one_line(
    environment: dict[str, str], argv: list[str], code: int, said: bytes
) -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *PROGRAM, *argv]
    ran = subprocess.run(shell, capture_output=True, env=environment, timeout=30)

    assert ran.returncode == code
    assert said in ran.stderr
    assert ran.stderr.count(b"\n") == 1


def test_help_needs_no_http_client() -> None:
    program = (
        "import sys; from server_stub.cli import main\ntry: main(['node', 'add', '--help'])\nexcept SystemExit: pass\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program + "assert 'httpx' not in sys.modules and 'uvicorn' not in sys.modules"],
        capture_output=True,
        timeout=30,
        cwd=Path(__file__).parent,
    )

    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"lattice-control node add" in ran.stdout
