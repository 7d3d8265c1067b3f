"""Every kind of call the filter refuses: seen to work without it, or to fail for another reason, and refused with it.

Each attack runs three times in a child of its own that is root with every capability: without a filter, with ours, and
with ours but for the one rule that refuses it. The first and the last must end alike, so that no attack is refused by
something else than the rule it is here for.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import pty
import signal
import socket
import struct
import tempfile
import termios
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import pytest

from lattice_agent.exec import filter_export, syscalls
from lattice_agent.exec.filter_export import assemble, export_filter
from lattice_agent.exec.syscalls import ANY, Rule, Variant, rules
from tests.rigs.filtered_child import call, errno_of, libc, number_of

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root]

WIDEST = Variant(inet=True, memory_watch=False)
NO_INET = Variant(inet=False, memory_watch=False)
WATCHED = Variant(inet=True, memory_watch=True)
ON_THE_HOST = Variant(inet=True, memory_watch=False, shares_host=True)

HIGH = 1 << 32
"""Added to an argument that the kernel takes as an int: it does not see it."""
AT_FDCWD = -100
NONE_SUCH = b"/none-such"
BAD = 1
"""An address where nothing is."""


class Attack(NamedTuple):
    """``call`` is the rule that is taken out; ``refused`` how it ends with all rules in force."""

    name: str
    call: str
    run: Callable[[], object]
    variant: Variant = WIDEST
    refused: str = "EPERM"


# --- one call, harmless arguments ---

CALLS: dict[str, tuple[int | bytes | None, ...]] = {
    # other processes
    "ptrace": (0, 0, 0, 0),
    "process_vm_readv": (os.getpid(), None, 0, None, 0, 0),
    "process_vm_writev": (os.getpid(), None, 0, None, 0, 0),
    "process_madvise": (-1, None, 0, 0, 0),
    "process_mrelease": (-1, 0),
    "kcmp": (os.getpid(), os.getpid(), 0, 0, 0),
    "move_pages": (0, 0, None, None, None, 0),
    "migrate_pages": (0, 0, None, None),
    # mounts and roots
    "mount": (b"none", b"/tmp", b"tmpfs", 0, None),
    "umount2": (NONE_SUCH, 0),
    "pivot_root": (NONE_SUCH, NONE_SUCH),
    "chroot": (b"/",),
    "move_mount": (-1, b"", -1, b"", 0),
    "open_tree": (AT_FDCWD, b"/", 0),
    "fsopen": (b"tmpfs", 0),
    "fsconfig": (-1, 0, None, None, 0),
    "fsmount": (-1, 0, 0),
    "fspick": (AT_FDCWD, b"/", 0),
    "mount_setattr": (AT_FDCWD, b"/", 0, None, 0),
    # namespaces
    "unshare": (0x0400_0000,),
    "setns": (-1, 0),
    # the kernel itself
    "bpf": (0, struct.pack("4I", 2, 4, 4, 1) + bytes(56), 72),
    "perf_event_open": (struct.pack("3I", 1, 112, 0) + bytes(100), 0, -1, -1, 0),
    "userfaultfd": (0,),
    "io_uring_setup": (1, bytes(120)),
    "io_uring_enter": (-1, 0, 0, 0, None, 0),
    "io_uring_register": (-1, 0, None, 0),
    "io_setup": (1, bytes(8)),
    "io_submit": (0, 0, None),
    "kexec_load": (0, 0, None, 0),
    "kexec_file_load": (-1, -1, 0, None, 0),
    "init_module": (None, 0, b""),
    "finit_module": (-1, b"", 0),
    "delete_module": (NONE_SUCH, 0),
    "syslog": (10, None, 0),
    "reboot": (0, 0, 0, None),
    "acct": (NONE_SUCH,),
    "iopl": (0,),
    "ioperm": (0, 1, 0),
    "modify_ldt": (0, None, 0),
    "lookup_dcookie": (0, None, 0),
    "nfsservctl": (0, None, None),
    "sysfs": (3,),
    "ustat": (0, None),
    "vhangup": (),
    # keys
    "keyctl": (0, -3, 0),
    "add_key": (b"user", b"lattice-test", b"x", 1, -2),
    "request_key": (b"user", b"lattice-none-such", None, 0),
    # what belongs to the whole machine
    "swapon": (NONE_SUCH, 0),
    "swapoff": (NONE_SUCH,),
    "clock_settime": (0, BAD),
    "settimeofday": (BAD, None),
    "adjtimex": (BAD,),
    "clock_adjtime": (0, BAD),
    "sethostname": (b"x", 1),
    "setdomainname": (b"x", 1),
    "quotactl": (0, None, 0, None),
    "quotactl_fd": (-1, 0, 0, None),
    "sync": (),
    "syncfs": (-1,),
    "set_mempolicy": (0, None, 0),
    "mbind": (0, 0, 0, None, 0, 0),
    # files by other ways than paths
    "open_by_handle_at": (-1, BAD, 0),
    "name_to_handle_at": (AT_FDCWD, b"/", BAD, BAD, 0),
    "fanotify_init": (0, 0),
    "fanotify_mark": (-1, 0, 0, -1, None),
    # memory
    "memfd_secret": (0,),
    "remap_file_pages": (0, 0, 0, 0, 0),
    "vmsplice": (-1, None, 0, 0),
}

ABSENT = {
    "kexec_load": "built without CONFIG_KEXEC",
    "kexec_file_load": "built without CONFIG_KEXEC_FILE",
    "init_module": "built without CONFIG_MODULES",
    "finit_module": "built without CONFIG_MODULES",
    "delete_module": "built without CONFIG_MODULES",
    "iopl": "built without CONFIG_X86_IOPL_IOPERM",
    "ioperm": "built without CONFIG_X86_IOPL_IOPERM",
    "lookup_dcookie": "removed from Linux 6.7",
    "nfsservctl": "removed from Linux 3.1",
}
"""Calls that end with ENOSYS on the kernel of CI. The filter's answer is seen all the same: it comes first."""


def plain_calls() -> Iterable[Attack]:
    for name, arguments in CALLS.items():
        yield Attack(name, name, partial(call, name, *arguments))


# --- arguments that make an ordinary call an attack ---


def new_child(flags: int) -> None:
    """clone(2) by hand; the child ends at once."""
    pid = call("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def new_sibling() -> None:
    """The same with CLONE_PARENT, by a child of this process: what it makes is then ours to reap."""
    child = os.fork()
    if child == 0:
        try:
            call("clone", syscalls.CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)  # both of them
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(code, "clone")
    os.wait()


def clones() -> Iterable[Attack]:
    new = {"ns": 0x2_0000, "cgroup": 0x200_0000, "uts": 0x400_0000, "ipc": 0x800_0000, "user": 0x1000_0000,
           "pid": 0x2000_0000, "net": 0x4000_0000}  # fmt: skip
    for name, flag in new.items():
        yield Attack(f"clone new {name}", "clone", partial(new_child, flag))
    yield Attack("clone new user, high bits", "clone", partial(new_child, HIGH | 0x1000_0000))
    yield Attack("clone beside the parent", "clone", new_sibling)


def new_child_of_our_memory(flags: int) -> None:
    """Both would go on in this code, so it ends with EINVAL if it is let through: CLONE_PIDFD, CLONE_PARENT_SETTID."""
    call("clone", flags | syscalls.CLONE_VM | 0x1000 | 0x10_0000, 0, 0, 0, 0)


def type_into_a_terminal(request: int) -> None:
    """TIOCSTI on a pseudo terminal of our own; what was typed must arrive."""
    _leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
    call("ioctl", follower, request, b"\n")  # a line that is complete and can be read
    assert os.read(follower, 10) == b"\n"


def on_a_terminal(request: int, argument: bytes) -> None:
    call("ioctl", pty.openpty()[1], request, argument)


def on_a_namespace(request: int) -> None:
    call("ioctl", os.open("/proc/self/ns/uts", os.O_RDONLY), request, 0)


def ioctls() -> Iterable[Attack]:
    tiocsti = termios.TIOCSTI
    yield Attack("TIOCSTI", "ioctl", partial(type_into_a_terminal, tiocsti))
    yield Attack("TIOCSTI, high bits", "ioctl", partial(type_into_a_terminal, HIGH | tiocsti))
    yield Attack("TIOCSTI, all high bits", "ioctl", partial(type_into_a_terminal, tiocsti - HIGH))
    yield Attack("TIOCLINUX", "ioctl", partial(on_a_terminal, termios.TIOCLINUX, b"\x06"))
    yield Attack("TIOCLINUX, high bits", "ioctl", partial(on_a_terminal, HIGH | termios.TIOCLINUX, b"\x06"))
    yield Attack("TIOCSETD", "ioctl", partial(on_a_terminal, termios.TIOCSETD, struct.pack("i", 0)))
    yield Attack("NS_GET_USERNS", "ioctl", partial(on_a_namespace, 0xB701))
    yield Attack("SIOCETHTOOL", "ioctl", partial(on_a_terminal, 0x8946, bytes(40)))


def sockets() -> Iterable[Attack]:
    kinds = {
        "netlink": (16, socket.SOCK_RAW, 0),
        "netlink, high bits": (HIGH | 16, socket.SOCK_RAW, 0),
        "packet": (17, socket.SOCK_RAW, 0),
        "vsock": (40, socket.SOCK_STREAM, 0),
        "alg": (38, socket.SOCK_SEQPACKET, 0),
        "key": (15, socket.SOCK_RAW, 2),
        "tipc": (30, socket.SOCK_SEQPACKET, 0),
        "xdp": (44, socket.SOCK_RAW, 0),
        "raw": (socket.AF_INET, socket.SOCK_RAW, 1),
        "raw, high bits": (socket.AF_INET, HIGH | socket.SOCK_RAW, 1),
        "raw, close-on-exec": (socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 58),
        "packet by its old name": (socket.AF_INET, 10, 0),
        "mptcp": (socket.AF_INET, socket.SOCK_STREAM, 262),
        "mptcp, high bits": (socket.AF_INET, socket.SOCK_STREAM, HIGH | 262),
        "sctp": (socket.AF_INET, socket.SOCK_STREAM, 132),
        "udp-lite": (socket.AF_INET, socket.SOCK_DGRAM, 136),
    }
    for name, arguments in kinds.items():
        yield Attack(f"socket {name}", "socket", partial(call, "socket", *arguments))
    for name, family in (("inet", socket.AF_INET), ("inet6", socket.AF_INET6), ("inet, high bits", HIGH | 2)):
        yield Attack(f"no inet: socket {name}", "socket", partial(call, "socket", family, 1, 0), NO_INET)
    yield Attack("socketpair tipc", "socketpair", partial(call, "socketpair", 30, 1, 0, bytes(8)))


def make_device(name: str, kind: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, null = f"{directory}/device".encode(), os.makedev(1, 3)
        call("mknod", path, kind, null) if name == "mknod" else call("mknodat", AT_FDCWD, path, kind, null)


def devices() -> Iterable[Attack]:
    character, block_device = 0o020600, 0o060600
    for name in ("mknod", "mknodat"):
        yield Attack(f"{name} character device", name, partial(make_device, name, character))
        yield Attack(f"{name} block device", name, partial(make_device, name, block_device))
        # mode is 16 bits wide
        yield Attack(f"{name} device, high bits", name, partial(make_device, name, 1 << 16 | character))


def prctls() -> Iterable[Attack]:
    options = {"SET_SECUREBITS": 28, "MCE_KILL": 33, "SET_SYSCALL_USER_DISPATCH": 59,
               "SCHED_CORE": 62, "SET_MEMORY_MERGE": 67, "SET_PTRACER": 0x59616D61}  # fmt: skip
    for name, option in options.items():
        yield Attack(f"PR_{name}", "prctl", partial(call, "prctl", option, 0, 0, 0, 0))
    yield Attack("PR_SET_MM", "prctl", partial(call, "prctl", 35, 15, BAD, 0, 0))  # PR_SET_MM_MAP_SIZE
    yield Attack("PR_SET_SECUREBITS, high bits", "prctl", partial(call, "prctl", HIGH | 28, 0, 0, 0, 0))


def supervise_calls() -> None:
    allow = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF_0000), 8)
    call("seccomp", 1, syscalls.SECCOMP_NEW_LISTENER, struct.pack("@HP", 1, ctypes.addressof(allow)))


def other_arguments() -> Iterable[Attack]:
    read_implies_exec = 0x40_0000
    yield Attack("personality", "personality", partial(call, "personality", read_implies_exec))
    yield Attack("personality, high bits", "personality", partial(call, "personality", HIGH | read_implies_exec))
    yield Attack("seccomp listener", "seccomp", supervise_calls)
    yield Attack("clone3", "clone3", partial(call, "clone3", None, 0), refused="ENOSYS")


# --- memory that no process shows ---


def mapping(flags: int) -> None:
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_long]
    call("mmap", 0, 2 << 20, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)


def advised(advice: int) -> None:
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        held = ctypes.c_char.from_buffer(memory)
        try:
            call("madvise", -(-ctypes.addressof(held) // (2 << 20)) * (2 << 20), 2 << 20, advice)
        finally:
            del held


def pipe_size(command: int) -> None:
    call("fcntl", os.pipe()[1], command, 1 << 20)


def socket_option(level: int, option: int) -> None:
    sock = socket.socket()
    call("setsockopt", sock.fileno(), level, option, struct.pack("i", 1 << 20 if option != 60 else 1), 4)


def hidden_memory() -> Iterable[Attack]:
    shared, anonymous, huge = mmap.MAP_SHARED, mmap.MAP_ANONYMOUS, syscalls.MAP_HUGETLB
    for flags in (0, signal.SIGCHLD, HIGH):
        yield Attack(f"clone with shared memory, {flags:#x}", "clone", partial(new_child_of_our_memory, flags), WATCHED)
    for name, advice in (("huge pages", mmap.MADV_HUGEPAGE), ("huge pages at once", syscalls.MADV_COLLAPSE)):
        yield Attack(f"madvise: {name}", "madvise", partial(advised, advice), WATCHED)
        yield Attack(f"madvise: {name}, high bits", "madvise", partial(advised, HIGH | advice), WATCHED)
    version = partial(call, "landlock_create_ruleset", None, 0, 1)
    yield Attack("landlock version", "landlock_create_ruleset", version, WATCHED)
    yield Attack("landlock rule", "landlock_add_rule", partial(call, "landlock_add_rule", -1, 1, None, 0), WATCHED)
    yield Attack("memfd", "memfd_create", partial(call, "memfd_create", b"x", 0), WATCHED)
    yield Attack("unread inotify events", "inotify_init1", partial(call, "inotify_init1", 0), WATCHED)
    for name, flags in {
        "shared": shared | anonymous,
        "shared, validated": 0x3 | anonymous,
        "shared, no reserve": shared | anonymous | 0x4000,
        "shared, high bits": HIGH | shared | anonymous,
        "huge pages": mmap.MAP_PRIVATE | anonymous | huge,
        "shared huge pages": shared | anonymous | huge,
    }.items():
        yield Attack(f"mmap anonymous: {name}", "mmap", partial(mapping, flags), WATCHED)
    for name, command in (("", fcntl.F_SETPIPE_SZ), (", high bits", HIGH | fcntl.F_SETPIPE_SZ)):
        yield Attack(f"pipe size{name}", "fcntl", partial(pipe_size, command), WATCHED)
    for option in (7, 8, 32, 33, 60):
        yield Attack(f"socket buffers {option}", "setsockopt", partial(socket_option, 1, option), WATCHED)
    yield Attack("socket buffers, high bits", "setsockopt", partial(socket_option, HIGH | 1, HIGH | 7), WATCHED)


SYSTEM_V: dict[str, tuple[int, ...]] = {"shmget": (0, 4096, 0o600), "semget": (0, 1, 0o600), "msgget": (0, 0o600)}


def objects_that_stay() -> Iterable[Attack]:
    for variant in (WATCHED, ON_THE_HOST):
        for name, arguments in SYSTEM_V.items():
            yield Attack(f"{name}: {variant}", name, partial(call, name, *arguments), variant)
    queue = partial(call, "mq_open", b"lattice-test", os.O_CREAT | os.O_RDWR, 0o600, None)
    yield Attack("mq_open", "mq_open", queue, ON_THE_HOST)


# --- processes of the host ---


def limit_the_parent() -> None:
    present = ctypes.create_string_buffer(16)
    call("prlimit64", os.getppid(), 7, None, present)  # reading is let through
    call("prlimit64", os.getppid(), 7, present, None)


def others() -> Iterable[Attack]:
    parent = os.getpid()  # of every child that attacks
    attacks: dict[str, Callable[[], object]] = {
        "prlimit64": limit_the_parent,
        "setpriority": partial(call, "setpriority", 0, parent, os.getpriority(os.PRIO_PROCESS, 0)),
        "ioprio_set": partial(call, "ioprio_set", 1, parent, 0),
        "sched_setscheduler": partial(call, "sched_setscheduler", parent, 0, bytes(4)),
        "sched_setparam": partial(call, "sched_setparam", parent, bytes(4)),
        "sched_setattr": partial(call, "sched_setattr", parent, None, 0),
        "sched_setaffinity": partial(os.sched_setaffinity, parent, os.sched_getaffinity(0)),
    }
    for name, attack in attacks.items():
        yield Attack(f"{name} of the parent", name, attack, ON_THE_HOST)
    yield Attack("setpriority of a whole uid", "setpriority", partial(call, "setpriority", 2, 0, 0), ON_THE_HOST)


ATTACKS = [
    *plain_calls(), *clones(), *ioctls(), *sockets(), *devices(), *prctls(), *other_arguments(), *hidden_memory(),
    *objects_that_stay(), *others(),
]  # fmt: skip


def loosened(variant: Variant, name: str) -> tuple[Rule, ...]:
    """The rules of a variant without what they ask of one call."""
    kept = tuple(rule for rule in rules(variant) if rule[0] != name)
    return (*kept, *((name, conditions) for conditions in ANY))


MATTER_MOST = {
    "ptrace", "process_vm_readv", "mount", "chroot", "fsopen", "unshare", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "keyctl", "add_key", "syslog", "clone new user", "clone new user, high bits",
    "clone beside the parent", "TIOCSTI", "TIOCSTI, high bits", "TIOCSTI, all high bits", "socket netlink",
    "socket netlink, high bits", "socket packet", "socket vsock", "socket raw", "socket raw, high bits",
    "no inet: socket inet", "mknod character device", "mknod device, high bits", "seccomp listener", "memfd",
    "mmap anonymous: shared", "mmap anonymous: shared, high bits", "pipe size", "pipe size, high bits",
    "madvise: huge pages", "madvise: huge pages, high bits", "landlock version",
    "socket buffers 7", "socket buffers, high bits", "prlimit64 of the parent",
}  # fmt: skip
"""They must not be judged by how the kernel dislikes their arguments, and are tried every day."""
EVERY_ATTACK = [
    pytest.param(attack, marks=() if attack.name in MATTER_MOST else pytest.mark.long, id=attack.name)
    for attack in ATTACKS
]


@pytest.mark.parametrize("attack", EVERY_ATTACK)
def test_an_attack_is_refused_by_its_rule(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    unhindered = errno_of(attack.run, None)
    assert unhindered != attack.refused
    assert unhindered != "EPERM"
    if unhindered == "ENOSYS":
        assert attack.call in ABSENT
    assert errno_of(attack.run, export_filter(attack.variant)) == attack.refused
    if attack.refused == "ENOSYS":
        monkeypatch.setattr(syscalls, "MISSING", ())
    assert errno_of(attack.run, assemble(loosened(attack.variant, attack.call))) == unhindered


def test_these_attacks_work_and_do_not_only_fail_otherwise() -> None:
    """The ones that matter most must not be judged by how the kernel dislikes their arguments."""
    work = {attack.name for attack in ATTACKS if errno_of(attack.run, None) == "works"}
    assert work >= MATTER_MOST


PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24


def drop_from_the_bounding_set() -> None:
    call("prctl", PR_CAPBSET_DROP, 0, 0, 0, 0)
    assert libc.prctl(PR_CAPBSET_READ, 0, 0, 0, 0) == 0


@pytest.mark.parametrize("variant", [WIDEST, NO_INET, WATCHED, ON_THE_HOST], ids=repr)
def test_the_bounding_set_can_be_narrowed_and_not_locked(variant: Variant) -> None:
    """native/cell empties it with the filter in force. A script that does so only loses what it does not have; the
    neighbour of that option, which could give something back, is among the attacks (PR_SET_SECUREBITS)."""
    assert errno_of(drop_from_the_bounding_set, export_filter(variant)) == "works"


# --- a descriptor of somebody, handles, namespaces by descriptor ---


def take_a_descriptor() -> None:
    call("pidfd_getfd", os.pidfd_open(os.getppid()), 0, 0)


def enter_a_namespace() -> None:
    call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0)


@pytest.mark.parametrize("attack", [take_a_descriptor, enter_a_namespace])
def test_what_a_descriptor_opens_is_refused(attack: Callable[[], None]) -> None:
    name = {"take_a_descriptor": "pidfd_getfd", "enter_a_namespace": "setns"}[attack.__name__]
    assert errno_of(attack, None) == "works"
    assert errno_of(attack, export_filter(WIDEST)) == "EPERM"
    assert errno_of(attack, assemble(loosened(WIDEST, name))) == "works"


# --- other architectures ---

needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="i386 and x32 calls exist on x86-64 only")

X32 = 0x4000_0000
I386 = {"getpid": 20, "unshare": 310, "socket": 359, "ptrace": 26}
INT_80 = bytes.fromhex("53 4189c8 89f8 89f3 89d1 4489c2 cd80 5b c3")
"""int80(number, a, b, c): push rbx; number to eax, a to ebx, b to ecx, c to edx; int 0x80; pop rbx; ret."""


def int80(number: int, *arguments: int) -> int:
    """A call by the i386 entry, from machine code in a mapping of our own. Raises OSError."""
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(INT_80)
        held = ctypes.c_char.from_buffer(code)
        result = int(ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 4)(ctypes.addressof(held))(number, *arguments))
        del held
    if -4096 < result < 0:
        raise OSError(-result, "int80")
    return result


@needs_x86
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("getpid", (0, 0, 0)), ("unshare", (0x400_0000, 0, 0)), ("socket", (16, 3, 0)), ("ptrace", (0, 0, 0))],
)
def test_calls_by_the_i386_entry_are_refused(
    name: str, arguments: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = partial(int80, I386[name], *arguments)
    assert errno_of(attack, None) == "works"
    assert errno_of(attack, export_filter(WIDEST)) == "EPERM"
    monkeypatch.setattr(filter_export, "FOREIGN_ARCHITECTURE", 0x7FFF_0000)  # SECCOMP_RET_ALLOW
    assert errno_of(attack, export_filter(WIDEST)) == "works"


@needs_x86
def test_x32_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel of CI has no x32 (CONFIG_X86_X32_ABI): unfiltered, the call ends with ENOSYS; elsewhere it works."""
    attack = partial(call, X32 | number_of("getpid"))
    unhindered = errno_of(attack, None)
    assert unhindered in ("ENOSYS", "works")
    assert errno_of(attack, export_filter(WIDEST)) == "EPERM"
    monkeypatch.setattr(filter_export, "FOREIGN_ARCHITECTURE", 0x7FFF_0000)
    assert errno_of(attack, export_filter(WIDEST)) == unhindered


# --- everything else ---


def call_all(invoke: Callable[..., int], numbers: Iterable[int], expected: int) -> None:
    passed = []
    for number in numbers:
        try:
            invoke(number, *[-1] * 3)
            passed.append(number)
        except OSError as error:
            if error.errno != expected:
                passed.append(number)
    assert passed == []


UNFILTERED = {335, 336}
"""uretprobe and uprobe on x86-64: Linux asks no filter about them and kills who calls them from the wrong place."""


def test_no_number_beyond_the_list_passes() -> None:
    known = UNFILTERED | {number_of(name) for name, _ in rules(WIDEST) if name not in syscalls.NUMBERS}
    known |= set(syscalls.NUMBERS.values()) | set(syscalls.MISSING_NUMBERS)
    numbers = [*(number for number in range(600) if number not in known), 2**31 - 1, 2**31, 2**32 - 1]
    assert len(numbers) > 200
    assert errno_of(partial(call_all, call, numbers, 1), export_filter(WIDEST)) == "works"


@needs_x86
def test_no_number_of_i386_or_x32_passes() -> None:
    program = export_filter(WIDEST)
    assert errno_of(partial(call_all, int80, range(480), 1), program) == "works"
    x32 = [X32 | number for number in range(600)]
    assert errno_of(partial(call_all, call, x32, 1), program) == "works"


def test_calls_newer_than_the_list_are_missing_and_not_forbidden() -> None:
    program = export_filter(WIDEST)
    assert errno_of(partial(call_all, call, syscalls.MISSING_NUMBERS, 38), program) == "works"


def test_no_option_of_prctl_beyond_the_list_passes() -> None:
    """Among them PR_SET_IO_FLUSHER, which root cannot use on the machine of CI (no CAP_SYS_RESOURCE)."""
    options = set(range(100)) - set(syscalls.PRCTL_OPTIONS.values())
    attack = partial(call_all, partial(call, "prctl"), sorted(options), 1)
    assert errno_of(attack, export_filter(WIDEST)) == "works"


@pytest.mark.parametrize("variant", [WIDEST, NO_INET], ids=str)
def test_no_socket_family_beyond_the_list_passes(variant: Variant) -> None:
    allowed = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6} if variant.inet else {socket.AF_UNIX}
    for kind in (1, 2, 3, 5):

        def make(family: int, *_: int, kind: int = kind) -> int:
            return call("socket", family, kind, 0)

        attack = partial(call_all, make, set(range(64)) - allowed, 1)
        assert errno_of(attack, export_filter(variant)) == "works"
