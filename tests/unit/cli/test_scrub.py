"""What is carried over the restart and what is refused; the restart itself is in behaviour/test_secrets.py."""

import doctest
import fcntl
import json
import os
from typing import Any

import pytest

from lattice_agent.cli import scrub
from lattice_agent.cli.scrub import RestartError, adopt, harmless, receive, restart, resume_descriptor
from lattice_agent.errors import UsageError

ENVIRON = {
    "PATH": "/bin",
    "HOME": "/h",
    "LC_ALL": "C",
    "XDG_STATE_HOME": "/x",
    "NOTIFY_SOCKET": "/n",
    "LATTICE_NODE_TOKEN": "token",
    "LATTICE_SERVER": "https://c.example",
    "https_proxy": "http://user:password@proxy",
    "NO_PROXY": "localhost",
    "AWS_SECRET_ACCESS_KEY": "other",
    "PYTHONPATH": "/evil",
    "LD_PRELOAD": "/evil.so",
}


def test_examples_of_the_docstrings() -> None:
    assert doctest.testmod(scrub).failed == 0


def test_what_stays_in_the_environment() -> None:
    assert set(harmless(ENVIRON)) == {"PATH", "HOME", "LC_ALL", "XDG_STATE_HOME", "NOTIFY_SOCKET"}


class ExecutedError(Exception):
    """execve(2) was reached; it is the one thing a test cannot let happen to itself."""


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def execve(program: str, argv: list[str], environ: dict[str, str]) -> None:
        inherited = resume_descriptor(argv[-1:])
        assert inherited is not None
        assert os.get_inheritable(inherited)
        calls.append((argv, environ, os.dup(inherited)))
        raise ExecutedError

    monkeypatch.setattr(os, "execve", execve)
    return calls


def hand_over(words: list[str], executed: list[Any]) -> int:
    """What the restarted process would inherit."""
    with pytest.raises(ExecutedError):
        restart(words, ENVIRON)
    descriptor: int = executed[0][2]
    return descriptor


def test_what_is_handed_over_comes_back_byte_for_byte(executed: list[Any]) -> None:
    words = ["-token", "s\u00e9cret", "-ip-script", "a\nb", "\udcff"]
    descriptor = hand_over(words, executed)
    os.set_inheritable(descriptor, True)
    adopt(descriptor)
    assert not os.get_inheritable(descriptor)
    invocation = receive(descriptor)
    assert list(invocation.words) == words
    assert invocation.environ == ENVIRON
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_the_new_argv_and_environment_hold_no_secret(executed: list[Any]) -> None:
    os.close(hand_over(["-token", "secret"], executed))
    argv, environ, _ = executed[0]
    assert argv[1:4] == ["-I", "-m", "lattice_agent"]
    assert environ == harmless(ENVIRON)
    assert "secret" not in " ".join(argv)


def test_what_is_handed_over_cannot_be_changed(executed: list[Any]) -> None:
    descriptor = hand_over([], executed)
    with pytest.raises(PermissionError):
        os.write(descriptor, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


def test_too_much_is_refused_before_the_restart(executed: list[Any]) -> None:
    with pytest.raises(RestartError, match="more than 1048576"):
        restart(["-ip-script", "x" * scrub.MAX_INVOCATION_BYTES], ENVIRON)
    assert executed == []


def test_an_interpreter_that_cannot_be_executed_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(RestartError, match="cannot start again without secrets in argv: No such file"):
        restart([], ENVIRON)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(
    "words", [[], ["-version"], ["--resume-fd=3", "-version"], ["-resume-fd=3"], ["--resume-fd", "3"]]
)
def test_other_calls_are_no_resumption(words: list[str]) -> None:
    assert resume_descriptor(words) is None


@pytest.mark.parametrize("number", ["", "x", "-1", "3 ", "\u0663", "99999999", "1e1"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(UsageError, match="does not name a call of this process"):
        resume_descriptor([f"--resume-fd={number}"])


def test_a_descriptor_that_is_not_ours_is_refused() -> None:
    reader, writer = os.pipe()
    unsealed = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    try:
        for descriptor in (reader, unsealed, 9_999_999):
            with pytest.raises(UsageError, match=f"--resume-fd={descriptor} does not name"):
                adopt(descriptor)
    finally:
        for descriptor in (reader, writer, unsealed):
            os.close(descriptor)


def sealed(content: bytes) -> int:
    descriptor = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, scrub._SEALS)
    return descriptor


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"pid": 1, "words": [], "environ": {}}).encode(),
        json.dumps({"pid": os.getpid(), "words": []}).encode(),
        json.dumps({"pid": os.getpid(), "words": 3, "environ": {}}).encode(),
        b"[]",
        b"",
        b"\xff",
    ],
    ids=["another process", "no environ", "no words", "a list", "empty", "bytes"],
)
def test_content_that_is_not_for_this_process_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="does not name a call of this process"):
        receive(sealed(content))
