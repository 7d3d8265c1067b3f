"""System calls by number, forks with namespaces, and loopback in a network of one's own; each in a process apart."""

import errno
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lattice_agent.exec.kernel import libc, loopback, namespaces, privileges
from lattice_agent.exec.kernel.namespaces import NEWIPC, NEWNET, NEWNS, NEWPID, NEWUSER, NEWUTS, PARENT
from tests.hostile.rig import OUTER_LIMIT_S
from tests.rigs.cells import NOBODY, apart

pytestmark = pytest.mark.needs_root


def failure(story: Callable[[], str]) -> str:
    """What a story, told apart, fails with: call and error; or what it returns."""

    def told() -> str:
        try:
            return story()
        except OSError as error:
            return f"{error.filename}: {errno.errorcode[error.errno or 0]}"

    return apart(told)


def namespace(kind: str, pid: int | str = "self") -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


# --- system calls ---


def test_a_call_that_fails_raises_its_error_with_its_name() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        libc.call("umount2", b"/nowhere/at/all", 0)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "umount2")


def test_a_call_that_is_not_in_the_table_is_not_made() -> None:
    with pytest.raises(OSError, match="reboot is not known on") as caught:
        libc.call("reboot", 0, 0, 0, None)
    assert caught.value.errno == errno.ENOSYS


def test_numbers_go_as_64_bits() -> None:
    # prctl(2) takes unsigned longs: one that does not fit 32 bits arrives whole, and is refused for it.
    def story() -> str:
        libc.call("prctl", 1, 1 << 40 | 9, 0, 0, 0)  # PR_SET_PDEATHSIG
        return "done"

    assert failure(story) == "prctl: EINVAL"


def test_both_architectures_know_the_same_calls() -> None:
    assert libc._X86_64.keys() == libc._GENERIC.keys()
    assert len(set(libc._X86_64.values())) == len(libc._X86_64)
    assert len(set(libc._GENERIC.values())) == len(libc._GENERIC)


# --- forks ---


def wait_for(pidfd: int) -> None:
    assert select.select([pidfd], [], [], OUTER_LIMIT_S)[0]


def test_a_fork_is_a_child_with_a_pidfd() -> None:
    def story() -> str:
        pid, pidfd = namespaces.clone(0)
        if pid == 0:
            os._exit(7 if pidfd == -1 else 8)
        wait_for(pidfd)
        closes_on_exec = not os.get_inheritable(pidfd)
        return json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), closes_on_exec])

    assert json.loads(apart(story)) == [7, True]


@pytest.mark.parametrize(
    ("flag", "kind"), [(NEWNS, "mnt"), (NEWUTS, "uts"), (NEWIPC, "ipc"), (NEWNET, "net"), (NEWUSER, "user")]
)
def test_a_fork_can_be_born_in_a_fresh_namespace(flag: int, kind: str) -> None:
    def story() -> str:
        told, tell = os.pipe()
        pid, pidfd = namespaces.clone(flag)
        if pid == 0:
            os.write(tell, namespace(kind).encode())
            os._exit(0)
        wait_for(pidfd)
        os.waitpid(pid, 0)
        return json.dumps([os.read(told, 100).decode(), namespace(kind)])

    inside, outside = json.loads(apart(story))
    assert inside.startswith(kind)
    assert inside != outside


def test_the_first_process_of_a_pid_namespace_calls_itself_one() -> None:
    def story() -> str:
        told, tell = os.pipe()
        pid, _pidfd = namespaces.clone(NEWPID)
        if pid == 0:
            os.write(tell, str(os.getpid()).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return os.read(told, 100).decode()

    assert apart(story) == "1"


def test_a_fork_can_be_a_child_of_its_makers_parent() -> None:
    def story() -> str:
        told, tell = os.pipe()
        middle = os.fork()
        if middle == 0:
            pid, _pidfd = namespaces.clone(PARENT)
            if pid == 0:
                os._exit(5)
            os.write(tell, str(pid).encode())
            os._exit(0)
        os.waitpid(middle, 0)
        child = int(os.read(told, 100))
        return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    assert apart(story) == "5"


def test_flags_the_kernel_refuses_are_an_error_with_its_words() -> None:
    def story() -> str:
        pid, _pidfd = namespaces.clone(NEWNS | 0x200)  # CLONE_FS: one's own mounts and a shared root exclude each other
        if pid == 0:
            os._exit(0)
        return "born"

    assert failure(story) == "clone3: EINVAL"


def test_a_namespace_is_entered_through_its_descriptor() -> None:
    def story() -> str:
        outside = os.open("/proc/self/ns/uts", os.O_RDONLY)
        before = namespace("uts")
        namespaces.unshare(NEWUTS)
        between = namespace("uts")
        namespaces.enter(outside, NEWUTS)
        return json.dumps([before, between, namespace("uts")])

    before, between, after = json.loads(apart(story))
    assert before == after != between


def test_a_descriptor_of_another_kind_is_not_entered() -> None:
    def story() -> str:
        namespaces.enter(os.open("/proc/self/ns/uts", os.O_RDONLY), NEWNET)
        return "entered"

    assert failure(story) == "setns: EINVAL"


def test_one_user_and_group_of_the_outside_are_mapped() -> None:
    def story() -> str:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.call("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self belongs to it again
        namespaces.unshare(NEWUSER)
        namespaces.map_single_ids((1000, 1001), (NOBODY, NOBODY))
        maps = [Path(f"/proc/self/{name}").read_text().split() for name in ("uid_map", "gid_map", "setgroups")]
        return json.dumps([os.getuid(), os.getgid(), *maps])

    assert json.loads(apart(story)) == [1000, 1001, ["1000", "65534", "1"], ["1001", "65534", "1"], ["deny"]]


# --- loopback ---


def test_loopback_comes_up_in_a_fresh_network() -> None:
    def story() -> str:
        namespaces.unshare(NEWNET)
        seen = []
        for _ in range(2):
            with socket.socket() as listener, socket.socket() as client:
                client.settimeout(OUTER_LIMIT_S)
                listener.bind(("0.0.0.0", 0))
                listener.listen()
                try:
                    client.connect(("127.0.0.1", listener.getsockname()[1]))
                    seen.append("connected")
                except OSError as error:
                    seen.append(errno.errorcode[error.errno or 0])
            loopback.bring_up()
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return json.dumps([seen, [name for _, name in socket.if_nameindex()]])

    seen, interfaces = json.loads(apart(story))
    assert seen == ["ENETUNREACH", "connected"]
    assert "lo" in interfaces


def test_who_may_not_bring_it_up_is_told() -> None:
    def story() -> str:
        namespaces.unshare(NEWNET)
        privileges.keep_only(())
        loopback.bring_up()
        return "up"

    assert failure(story) == "ioctl: EPERM"


def test_a_process_apart_that_fails_fails_its_test() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        apart(lambda: str(1 / 0))
    with pytest.raises(AssertionError, match="ended with -9"):
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
