"""The lines to paste on a node, run by a real shell."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from server_stub.cli.enrol import enrolment
from server_stub.cli.errors import AnswerError
from tests.unit.server_stub_cli.rig import NODE_TOKEN


@pytest.mark.parametrize("node", ["n1", "a b'; touch pwned; '", "../../etc/x", "-n", "$(touch pwned)"])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_pasted_into_a_shell_they_store_the_token_and_start_the_agent(tmp_path: Path, shell: str, node: str) -> None:
    agent = tmp_path / "bin" / "lattice-agent"
    agent.parent.mkdir()
    agent.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > argv\n')
    agent.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()

    subprocess.run([shell], input=pasted(node), text=True, cwd=work, env={"PATH": f"{agent.parent}:/usr/bin:/bin"})

    argv = (work / "argv").read_text().splitlines()
    assert argv[:5] == ["-server", "https://control.example:8443", "-node-id", node, "--token-file"]
    token_file = work / argv[5]
    assert token_file.read_text() == NODE_TOKEN + "\n"
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert sorted(os.listdir(work)) == sorted(["argv", token_file.name])


def pasted(node: str) -> str:
    lines = enrolment("https://control.example:8443", node, NODE_TOKEN)
    first = next(i for i, line in enumerate(lines) if "umask" in line)
    last = next(i for i, line in enumerate(lines) if "lattice-agent" in line)
    return "\n".join(lines[first : last + 1]) + "\n"


def test_the_token_is_not_in_an_argument() -> None:
    assert all(NODE_TOKEN not in line for line in pasted("n1").splitlines() if line.startswith("  "))


@pytest.mark.parametrize("token", ["", "short", "a" * 16 + "\nEND\nreboot", "a" * 16 + "`id`", "a" * 300])
def test_a_token_that_is_none_is_not_made_ready_to_paste(token: str) -> None:
    with pytest.raises(AnswerError):
        enrolment("https://control.example", "n1", token)


def test_what_a_loopback_or_cleartext_server_needs_is_said() -> None:
    local = "\n".join(enrolment("http://127.0.0.1:1", "n1", NODE_TOKEN))
    remote = "\n".join(enrolment("http://10.0.0.1:1", "n1", NODE_TOKEN))
    tls = "\n".join(enrolment("https://control.example", "n1", NODE_TOKEN))

    assert "in place of http://127.0.0.1:1" in local
    assert "-allow-insecure-http" not in local
    assert "-allow-insecure-http" in remote
    assert "in place of" not in remote + tls
    assert "-allow-insecure-http" not in tls
