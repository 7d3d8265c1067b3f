"""The list of system calls: complete, consistent, and the same as what libseccomp makes of it."""

import fcntl
import itertools
import mmap
import socket
import struct
import subprocess
import sys
import termios
from collections import Counter

import _prctl
import pyseccomp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice_agent.errors import SandboxError
from lattice_agent.exec import filter_export, syscalls
from lattice_agent.exec.filter_export import assemble, export_filter
from lattice_agent.exec.syscalls import INT, POINTER, Variant, rules

X86_64 = 0xC000_003E
"""AUDIT_ARCH_X86_64: the numbers and programs of this file are of that architecture, wherever it is tested."""
I386 = 0x4000_0003
ALLOW, REFUSE, MISSING = 0x7FFF_0000, 0x0005_0001, 0x0005_0026
ALL = [
    Variant(inet=inet, memory_watch=watch, shares_host=shares)
    for inet, watch, shares in itertools.product((False, True), repeat=3)
]
WIDEST = Variant(inet=True, memory_watch=False)

REFUSED = {
    "looks into or moves other processes": (
        "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp",
        "move_pages", "migrate_pages",
    ),
    "mounts and roots": (
        "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
        "fspick", "mount_setattr",
    ),
    "namespaces": ("unshare", "setns"),
    "programs and events inside the kernel": (
        "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
        "fanotify_init", "fanotify_mark", "lookup_dcookie",
    ),
    "one number for the whole machine (fs.aio-max-nr) runs out": (
        "io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents",
    ),
    "writes out other people's files and waits for it": ("sync", "syncfs"),
    "keys": ("keyctl", "add_key", "request_key"),
    "the machine": (
        "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "acct", "syslog",
        "swapon", "swapoff", "clock_settime", "settimeofday", "adjtimex", "clock_adjtime", "sethostname",
        "setdomainname", "quotactl", "quotactl_fd", "iopl", "ioperm", "modify_ldt", "vhangup",
    ),
    "where memory lies": ("mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "files without a path": ("open_by_handle_at", "name_to_handle_at"),
    "memory that escapes accounts or the kernel's own map; nobody misses them": (
        "vmsplice", "memfd_secret", "remap_file_pages",
    ),
    "tells what others have read": ("cachestat",),
    "long gone or never built": (
        "uselib", "ustat", "sysfs", "_sysctl", "create_module", "get_kernel_syms", "query_module", "nfsservctl",
        "getpmsg", "putpmsg", "afs_syscall", "tuxcall", "security", "vserver", "epoll_ctl_old", "epoll_wait_old",
        "set_thread_area", "get_thread_area",
    ),
}  # fmt: skip


def number_of(name: str) -> int:
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, name)
    assert isinstance(number, int)
    return number if number >= 0 else syscalls.NUMBERS.get(name, -1)


def every_name() -> set[str]:
    """All calls of x86-64 that the installed libseccomp knows."""
    names = set()
    for number in range(470):
        try:
            names.add(pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, number).decode())
        except ValueError:  # not in use
            continue
    return names


# --- the lists ---


def test_every_call_was_thought_about() -> None:
    allowed = {name for variant in ALL for name, _ in rules(variant)} | set(syscalls.MISSING)
    refused = {name for names in REFUSED.values() for name in names}
    assert allowed & refused == set()
    # Calls of the newest kernels need no entry before libseccomp has a name for them: EPERM until then.
    assert every_name() - allowed - refused == set()


def test_no_name_is_written_twice_or_wrong() -> None:
    names = [name for group in syscalls.GROUPS.values() for name in group]
    names += [
        *syscalls.LANDLOCK_RULES,
        *syscalls.SYSTEM_V,
        *syscalls.MESSAGE_QUEUES,
        *syscalls.CHANGES_TO_A_PROCESS,
        *syscalls.CONDITIONS,
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [name for name in {name for name, _ in rules(WIDEST)} if number_of(name) < 0] == []


def test_numbers_are_those_of_libseccomp() -> None:
    assert {name for name, number in syscalls.NUMBERS.items() if number_of(name) != number} == set()
    assert max(syscalls.NUMBERS.values()) < min(syscalls.MISSING_NUMBERS)


@pytest.mark.parametrize("variant", ALL, ids=str)
def test_every_rule_can_match_and_minds_the_width_of_its_argument(variant: Variant) -> None:
    for name, conditions in rules(variant):
        for argument, mask, value in conditions:
            assert 0 <= argument <= 5
            assert value & ~mask == 0, name
            assert mask <= INT or (name, mask) == ("prlimit64", POINTER)


def test_ioctl_numbers_are_those_of_the_headers() -> None:
    known = {name: getattr(termios, name) for name in syscalls.IOCTLS if hasattr(termios, name)}
    assert len(known) > 25
    assert {name: syscalls.IOCTLS[name] for name in known} == known
    forbidden = {termios.TIOCSTI, termios.TIOCLINUX, termios.TIOCSETD, termios.TIOCCONS}
    assert forbidden & set(syscalls.IOCTLS.values()) == set()


def test_prctl_options_are_those_of_the_headers() -> None:
    known = {name: getattr(_prctl, f"PR_{name}") for name in syscalls.PRCTL_OPTIONS if hasattr(_prctl, f"PR_{name}")}
    assert len(known) > 25
    assert {name: syscalls.PRCTL_OPTIONS[name] for name in known} == known


def test_socket_options_are_those_of_the_headers() -> None:
    known = {name: getattr(socket, f"SO_{name}") for name in syscalls.SOCKET_OPTIONS if hasattr(socket, f"SO_{name}")}
    assert len(known) > 10
    assert {name: syscalls.SOCKET_OPTIONS[name] for name in known} == known
    assert {socket.SO_SNDBUF, socket.SO_RCVBUF} & set(syscalls.SOCKET_OPTIONS.values()) == set()


def test_under_the_watch_fcntl_lacks_one_command_only() -> None:
    def passes(command: int) -> bool:
        return any(
            all(command & mask == value for _, mask, value in conditions) for conditions in syscalls.FCNTL_BUT_PIPE_SIZE
        )

    assert [command for command in range(1040) if not passes(command)] == [fcntl.F_SETPIPE_SZ]


def test_under_the_watch_madvise_lacks_huge_pages_only() -> None:
    def passes(advice: int) -> bool:
        return any(advice & mask == value for ((_, mask, value),) in syscalls.MADVISE_BUT_HUGE_PAGES)

    assert [advice for advice in range(128) if not passes(advice)] == [mmap.MADV_HUGEPAGE, syscalls.MADV_COLLAPSE]


def test_a_variant_is_a_value() -> None:
    assert len({*ALL, *ALL}) == 8
    assert Variant(inet=True, memory_watch=False, shares_host=True).words() == ("inet", "shares_host")
    assert Variant(inet=True, memory_watch=False) != ("inet",)
    assert repr(Variant(inet=True, memory_watch=True)) == "Variant(inet, memory_watch)"


def test_a_narrower_variant_lets_nothing_more_through() -> None:
    everything = {name for name, _ in rules(WIDEST)}
    for variant in ALL:
        assert {name for name, _ in rules(variant)} <= everything
    watched = {name for name, _ in rules(Variant(inet=True, memory_watch=True))}
    hidden = {"memfd_create", "inotify_init", "inotify_init1", "landlock_add_rule"}
    assert everything - watched == {*hidden, *syscalls.SYSTEM_V}


# --- the program ---

Instruction = tuple[int, int, int, int]


def decoded(program: bytes) -> list[Instruction]:
    """Code, jump if true, jump if false, constant (struct sock_filter)."""
    return list(struct.iter_unpack("HBBI", program))


def verdict(instructions: list[Instruction], number: int, arguments: tuple[int, ...], arch: int = X86_64) -> int:
    """What a classic BPF program answers to a system call (struct seccomp_data)."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments)
    accumulator = at = 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        if code == 0x20:  # load a word
            accumulator = struct.unpack_from("<I", data, constant)[0]
        elif code == 0x54:  # and
            accumulator &= constant
        elif code == 0x05:  # jump
            at += constant
        elif code == 0x06:  # return
            return constant
        else:
            holds = {0x15: accumulator == constant, 0x25: accumulator > constant, 0x35: accumulator >= constant}[code]
            at += if_true if holds else if_false


PROGRAMS = {variant: decoded(export_filter(variant)) for variant in ALL}
NUMBERS = {name: number_of(name) for name in sorted(every_name() | set(syscalls.NUMBERS))}
TELLING = sorted({value for _, conditions in rules(WIDEST) for _, _, value in conditions} | {0, 0x21, 0x5412, 1031})
NUMBER_64 = st.one_of(
    st.sampled_from(TELLING),
    st.builds(lambda value, high: value | high << 32, st.sampled_from(TELLING), st.integers(0, 2**32 - 1)),
    st.integers(0, 100),
    st.integers(0, 2**64 - 1),
)

native = pytest.mark.skipif(
    pyseccomp.system_arch() != pyseccomp.Arch.X86_64, reason="the exported program is of this machine's architecture"
)


def expected(variant: Variant, name: str, arguments: tuple[int, ...]) -> int:
    if name in syscalls.MISSING:
        return MISSING
    matches = any(
        all(arguments[argument] & mask == value for argument, mask, value in conditions)
        for each, conditions in rules(variant)
        if each == name
    )
    return ALLOW if matches else REFUSE


@native
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ALL), st.sampled_from(sorted(NUMBERS)), st.tuples(*[NUMBER_64] * 6))
def test_the_program_does_what_the_rules_say(variant: Variant, name: str, arguments: tuple[int, ...]) -> None:
    assert verdict(PROGRAMS[variant], NUMBERS[name], arguments) == expected(variant, name, arguments)


@native
@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(ALL),
    st.sampled_from([*syscalls.CONDITIONS, *syscalls.UNDER_MEMORY_WATCH, *syscalls.ON_ITSELF, "socket", "socketpair"]),
    st.tuples(*[NUMBER_64] * 6),
)
def test_conditions_are_compared_as_the_rules_say(variant: Variant, name: str, arguments: tuple[int, ...]) -> None:
    assert verdict(PROGRAMS[variant], NUMBERS[name], arguments) == expected(variant, name, arguments)


@native
@pytest.mark.parametrize("variant", ALL, ids=str)
def test_other_architectures_get_eperm_for_every_number(variant: Variant) -> None:
    program, nothing = PROGRAMS[variant], (0,) * 6
    assert {verdict(program, number, nothing, I386) for number in range(512)} == {REFUSE}
    assert {verdict(program, 0x4000_0000 | number, nothing) for number in range(600)} == {REFUSE}
    assert verdict(program, 2**32 - 1, nothing) == REFUSE


@native
def test_the_program_is_short_enough_for_the_kernel_and_for_a_pipe() -> None:
    assert all(200 < len(program) < 1024 for program in PROGRAMS.values())


@native
def test_a_call_that_only_a_newer_libseccomp_knows_is_allowed_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = pyseccomp.resolve_syscall
    monkeypatch.setattr(
        pyseccomp, "resolve_syscall", lambda arch, name: -1 if name in syscalls.NUMBERS else resolve(arch, name)
    )
    assert decoded(export_filter(WIDEST)) == PROGRAMS[WIDEST]


def test_a_call_of_other_architectures_is_passed_over() -> None:
    assert assemble([("getpid", ()), ("socketcall", ()), ("no_such_call", ())]) == assemble([("getpid", ())])


def test_a_rule_that_cannot_be_built_is_an_error() -> None:
    with pytest.raises(SandboxError, match="libseccomp cannot build the filter"):
        assemble([("getpid", ((7, INT, 0),))])  # there is no eighth argument


def test_a_missing_libseccomp_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SandboxError, match="cannot load libseccomp") as caught:
        export_filter(WIDEST)
    assert "libseccomp2" in caught.value.hint()


def test_the_program_of_a_bare_interpreter_is_the_same() -> None:
    code = (
        f"import sys; sys.path += {sys.path!r}; from lattice_agent.exec.filter_export import main; main(sys.argv[1:])"
    )
    for variant in (WIDEST, ALL[0]):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, *variant.words()], env={}, capture_output=True, timeout=30
        )
        assert (done.stderr, done.stdout) == (b"", export_filter(variant))


def test_an_unknown_field_of_a_variant_is_named() -> None:
    with pytest.raises(SandboxError, match="no field internet") as caught:
        filter_export.main(["inet", "internet"])
    assert "inet, memory_watch, shares_host" in caught.value.hint()
