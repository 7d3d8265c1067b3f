"""From fork to exec, apart from the spawner: what a child loses on its way, and how a failure comes back."""

import os
from pathlib import Path

import pytest

from lattice_agent.exec.requests import Run
from lattice_agent.exec.script import StartError, start
from tests.rigs.cells import apart


def a_run(*argv: bytes) -> Run:
    return Run(1, list(argv), [b"PATH=/usr/bin:/bin"], b"/", [], 0)


def output_of(run: Run) -> bytes:
    read_end, write_end = os.pipe()
    pid = start(run, write_end, write_end)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


def test_an_inheritable_descriptor_does_not_walk_into_the_script(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    leaky = os.open(secret, os.O_RDONLY)
    os.dup2(leaky, 77)  # inheritable, as close-on-exec would hide whether anything closes it
    try:
        assert os.get_inheritable(77)
        script = tmp_path / "script"
        script.write_text("ls /proc/self/fd | tr '\\n' ' '")
        assert output_of(a_run(b"/bin/sh", os.fsencode(script))).split() == [b"0", b"1", b"2", b"3"]
    finally:
        os.close(77)
        os.close(leaky)


def test_a_failed_exec_is_an_error_with_the_step_and_leaves_no_zombie() -> None:
    def story() -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        with pytest.raises(StartError, match=r"^exec /nowhere: No such file or directory$"):
            start(a_run(b"/nowhere"), null, null)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    apart(story)  # this process may have children that tests share
