"""What a process gives up, seen in /proc afterwards and tried; each story in a process apart."""

import ctypes
import errno
import json
import os
import select
import signal
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from lattice_agent.exec.kernel import libc, privileges
from lattice_agent.exec.kernel.privileges import CAP_KILL, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, LOCKED_SECUREBITS
from tests.rigs.cells import NOBODY, apart, status_of

pytestmark = pytest.mark.needs_root

SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")
OTHER = 70_001


def told(story: Callable[[], object]) -> list[object]:
    """What the story returns."""
    found: list[object] = json.loads(apart(lambda: json.dumps(story())))
    return found


def capabilities() -> dict[str, int]:
    """The sets of this process."""
    status = status_of(os.getpid())
    return {name: int(status[name], 16) for name in SETS}


def after_exec() -> dict[str, int]:
    """The sets of what this process executes."""
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(ours, 1)
        os.execv("/bin/grep", ["grep", "^Cap", "/proc/self/status"])
    os.close(ours)
    with open(theirs) as pipe:
        lines = dict(line.split(":\t") for line in pipe.read().splitlines())
    os.waitpid(pid, 0)
    return {name: int(lines[name], 16) for name in SETS}


def bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


def give_everything_up() -> None:
    """By hand, and without a word about the next exec."""
    libc.call("capset", privileges._HEADER.pack(privileges._CAPABILITY_VERSION_3, 0), bytes(24))


def attempt(act: Callable[[], object]) -> str:
    """How an attempt ends."""
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def test_supplementary_groups_are_left() -> None:
    def story() -> list[object]:
        os.setgroups([1, 2, 3])
        privileges.drop_groups()
        return list(os.getgroups())

    assert told(story) == []


def test_other_ids_are_for_good_and_take_no_capability_away_yet() -> None:
    def story() -> list[object]:
        privileges.become(OTHER, OTHER + 1)
        ids = [*os.getresuid(), *os.getresgid()]
        permitted = capabilities()["CapPrm"]
        privileges.keep_only(())
        return [ids, permitted & bits(CAP_KILL, CAP_SETPCAP), attempt(lambda: os.setresuid(0, 0, 0))]

    ids, permitted, back = told(story)
    assert ids == [OTHER] * 3 + [OTHER + 1] * 3
    assert permitted == bits(CAP_KILL, CAP_SETPCAP)
    assert back == "EPERM"


@pytest.mark.parametrize("kept", [(), (CAP_KILL,), (CAP_KILL, CAP_SETGID, CAP_SETUID)])
def test_only_what_is_kept_survives_also_the_next_exec(kept: tuple[int, ...]) -> None:
    def story() -> list[object]:
        privileges.become(OTHER, OTHER)
        privileges.keep_only(kept)
        return [capabilities(), after_exec()]

    here, there = told(story)
    assert here == there == dict.fromkeys(SETS, bits(*kept))


def test_with_locked_securebits_root_means_nothing_any_more() -> None:
    def story() -> list[object]:
        privileges.lock_securebits()
        bits_now = libc.call("prctl", 27, 0, 0, 0, 0)  # PR_GET_SECUREBITS
        unlock = attempt(lambda: libc.call("prctl", 28, 0, 0, 0, 0))  # PR_SET_SECUREBITS
        give_everything_up()
        return [bits_now, os.getuid(), after_exec(), unlock]

    found, uid, there, unlock = told(story)
    assert found == LOCKED_SECUREBITS == 0b1110_1011  # capabilities(7): noroot, no ambient raise, and all four locks
    assert (uid, there, unlock) == (0, dict.fromkeys(SETS, 0), "EPERM")


def test_without_the_lock_root_gets_everything_back_at_the_next_exec() -> None:
    """The opposite, so that the test above can fail."""

    def story() -> list[object]:
        give_everything_up()
        return [after_exec()["CapEff"]]

    [effective] = told(story)
    assert effective != 0


def test_no_ambient_capability_can_be_added_after_the_lock() -> None:
    def story() -> list[object]:
        privileges.keep_only((CAP_KILL, CAP_SETPCAP))
        libc.call("prctl", 47, 4, 0, 0, 0)  # PR_CAP_AMBIENT, clear all
        raise_it = lambda: libc.call("prctl", 47, 2, CAP_KILL, 0, 0)  # noqa: E731 - said once, tried twice
        before = attempt(raise_it)
        privileges.lock_securebits()
        return [before, attempt(raise_it)]

    assert told(story) == ["done", "EPERM"]


def test_no_new_privileges_stays() -> None:
    def story() -> list[object]:
        before = status_of(os.getpid())["NoNewPrivs"]
        privileges.no_new_privileges()
        return [before, status_of(os.getpid())["NoNewPrivs"], attempt(lambda: libc.call("prctl", 38, 0, 0, 0, 0))]

    assert told(story) == ["0", "1", "EINVAL"]


def test_orphans_come_to_the_subreaper() -> None:
    def story() -> list[object]:
        privileges.become_subreaper()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os.close(0)
                os._exit(9 if select.select([], [], [], 0.05) else 0)
            os._exit(0)
        os.waitpid(middle, 0)
        return [os.waitstatus_to_exitcode(os.wait()[1])]

    assert told(story) == [9]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR2])
def test_a_child_gets_its_signal_when_its_parent_dies(number: signal.Signals) -> None:
    def story() -> list[object]:
        privileges.become_subreaper()
        ready, tell = os.pipe()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                privileges.die_with_parent(number)
                os.write(tell, b".")
                signal.pause()
            os.read(ready, 1)
            os._exit(0)
        os.waitpid(middle, 0)
        return [os.waitstatus_to_exitcode(os.wait()[1])]

    assert told(story) == [-number]


def test_the_session_keyring_is_another_one() -> None:
    def keyring() -> int:
        return libc.call("keyctl", 0, -3, 0)  # KEYCTL_GET_KEYRING_ID, the session's

    def story() -> list[object]:
        libc.call("keyctl", 1, None)  # of its own, as a login has it
        before = keyring()
        privileges.leave_session_keyring()
        return [before, keyring()]

    before, after = told(story)
    assert before != after


@pytest.mark.parametrize(("error", "raised"), [(errno.ENOSYS, False), (errno.EDQUOT, True)])
def test_a_kernel_without_keyrings_has_none_to_leave(error: int, raised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*_arguments: object) -> int:
        ctypes.set_errno(error)
        return -1

    monkeypatch.setattr(libc._libc, "syscall", answers)
    with pytest.raises(OSError, match="quota") if raised else nullcontext():
        privileges.leave_session_keyring()


def test_who_has_no_right_to_it_is_told() -> None:
    def story() -> list[object]:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        attempts: list[Callable[[], object]] = [
            privileges.drop_groups,
            privileges.lock_securebits,
            lambda: privileges.become(OTHER, OTHER),
            lambda: privileges.keep_only((CAP_KILL,)),
        ]
        return [attempt(each) for each in attempts]

    assert told(story) == ["EPERM"] * 4
