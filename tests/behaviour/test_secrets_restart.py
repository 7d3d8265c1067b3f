"""Weak point 13: where the agent's secrets can be seen, looked at from outside a real process."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.stub_agent import StubAgent, call, make_stub, running

TOKEN = "not-a-real-token-0123456789"
USAGE_SECRET = "not-a-real-usage-secret"
PROXY_PASSWORD = "not-a-real-password"
SECRETS = (TOKEN, USAGE_SECRET, PROXY_PASSWORD)

IN_ENVIRON = {
    "LATTICE_NODE_ID": "n1",
    "LATTICE_NODE_TOKEN": TOKEN,
    "LATTICE_PROXY_USAGE_URL": "http://127.0.0.1:1/",
    "LATTICE_PROXY_USAGE_SECRET": USAGE_SECRET,
    "HTTPS_PROXY": f"http://user:{PROXY_PASSWORD}@proxy.example:3128",
    "UNRELATED_SECRET": PROXY_PASSWORD,
    "LATTICE_STATE_DIR": "/nonexistent",
}
IN_ARGV = (
    *("-node-id", "n1", "-token", TOKEN, "-state-dir", "/nonexistent"),
    *("-proxy-usage-url=http://127.0.0.1:1/", f"--proxy-usage-secret={USAGE_SECRET}"),
)

NOBODY = 65534
OTHER = 65533


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stub(tmp_path_factory.mktemp("stub"))


@pytest.fixture(params=["argv", "environ"])
def agent(request: pytest.FixtureRequest, python: Path) -> Iterator[StubAgent]:
    words, environ = (IN_ARGV, {}) if request.param == "argv" else ((), IN_ENVIRON)
    with running(python, words, environ) as started:
        yield started


@pytest.mark.needs_root  # the process is closed to its own user
def test_weak_point_13_no_secret_is_in_argv_or_environment(agent: StubAgent) -> None:
    visible = agent.proc("cmdline") + agent.proc("environ")
    assert [secret for secret in SECRETS if secret.encode() in visible] == []
    assert b"LATTICE_" not in agent.proc("environ")


def test_weak_point_13_the_agent_has_what_was_taken_away(agent: StubAgent) -> None:
    assert (agent.seen["token"], agent.seen["usage_secret"]) == (TOKEN, USAGE_SECRET)
    assert not [name for name in agent.seen["environ"] if name.startswith("LATTICE_")]
    assert "UNRELATED_SECRET" not in agent.seen["environ"]


def test_the_program_stays_the_same_process_and_can_be_recognised(agent: StubAgent) -> None:
    words = agent.proc("cmdline").decode().split("\0")
    assert words[1:4] == ["-I", "-m", "lattice_agent"]
    assert words[4].startswith("--resume-fd=")
    assert len(words) == 6  # the resumed process has restarted only once
    assert agent.proc("comm") == b"lattice-agent\n"


def test_the_spawner_starts_before_anything_secret_is_read_or_loaded(agent: StubAgent) -> None:
    seen = agent.seen
    assert seen["unread"]
    assert not seen["inheritable"]
    assert seen["dumpable"] == 0
    assert seen["loaded"] == []
    assert not [secret for secret in SECRETS if secret in str(seen["environ_at_spawn"])]


def test_nothing_is_left_open_of_the_handover(agent: StubAgent) -> None:
    assert agent.seen["memfds"] == []


def test_proxy_settings_reach_the_http_client_only_inside_the_process(python: Path) -> None:
    with running(python, (), IN_ENVIRON) as agent:
        assert agent.seen["environ"]["HTTPS_PROXY"] == IN_ENVIRON["HTTPS_PROXY"]
        assert "HTTPS_PROXY" not in agent.seen["environ_at_spawn"]


def test_no_secret_is_in_log_or_traceback(agent: StubAgent) -> None:
    code, _, err = agent.end("crash")
    assert code == os.EX_SOFTWARE
    assert "the token is ***" in err
    assert "RuntimeError: crashed with ***" in err
    assert not [secret for secret in SECRETS if secret in err + agent.seen["settings"]]


def test_the_exit_code_of_the_app_is_that_of_the_command(agent: StubAgent) -> None:
    assert agent.end("75")[0] == 75


def test_the_token_file_is_enough(python: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    with running(python, ("-node-id=n1", "--token-file", str(file)), {}) as agent:
        assert agent.seen["token"] == TOKEN


def test_an_error_after_the_restart_closes_the_spawner_and_says_one_line(python: Path) -> None:
    done = call(("-token", TOKEN), {}, python=python)
    assert done.returncode == os.EX_CONFIG
    assert done.stderr == "lattice-agent: the node id is missing; set -node-id or LATTICE_NODE_ID\n"
    assert done.stdout == "spawner closed\n"


@pytest.mark.parametrize("standard", [0, 1, 2])
def test_a_closed_standard_descriptor_does_not_take_the_handovers_place(python: Path, standard: int) -> None:
    closing = ("sh", "-c", f'exec {standard}>&-; exec "$@"', "sh")
    argv = (*closing, str(python), "-m", "lattice_agent", "-token", TOKEN)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env={"HOME": "/nonexistent"})
    assert done.returncode == os.EX_CONFIG
    assert done.stdout == ("" if standard == 1 else "spawner closed\n")


# --- other processes of the same user --------------------------------------------------------------------------------

# An interpreter below a home directory of root is reached with this capability; it opens no process to its user.
READ_ANYWHERE = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def as_user(uid: int) -> tuple[str, ...]:
    """A prefix that makes a command run as ``uid``; nothing if the tests run as a user already."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *READ_ANYWHERE, "--")


def read_as(uid: int, pid: int, name: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([*as_user(uid), "cat", f"/proc/{pid}/{name}"], capture_output=True, timeout=20, check=False)


def test_a_process_that_does_nothing_about_it_can_be_read_by_its_user() -> None:
    """The other half of the next test: the reader would see a secret if there were one to see."""
    with subprocess.Popen(
        [*as_user(NOBODY), "sh", "-c", "echo; exec cat"],
        env={"LATTICE_NODE_TOKEN": TOKEN, "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert TOKEN.encode() in read_as(NOBODY, process.pid, "environ").stdout
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["environ", "maps", "fd/0", "mem"])
def test_weak_point_13_the_agents_own_user_cannot_look_into_it(python: Path, name: str) -> None:
    with running(python, (), IN_ENVIRON, prefix=as_user(NOBODY)) as agent:
        done = read_as(NOBODY, agent.pid, name)
        assert done.returncode != 0
        assert done.stdout == b""
        assert b"Permission denied" in done.stderr


@pytest.mark.needs_root
def test_weak_point_13_another_user_cannot_look_into_it(python: Path) -> None:
    with running(python, IN_ARGV, {}, prefix=as_user(NOBODY)) as agent:
        assert read_as(OTHER, agent.pid, "environ").returncode != 0
        shown = read_as(OTHER, agent.pid, "cmdline")
        assert b"lattice_agent" in shown.stdout
        assert TOKEN.encode() not in shown.stdout
