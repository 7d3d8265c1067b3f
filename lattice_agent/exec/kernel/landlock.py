"""Landlock: what a process and all it starts may do with files, TCP, abstract sockets and signals (landlock(7)).

A ruleset names what is refused ("handled") and the exceptions from it; a process puts itself into the domain of a
ruleset and never leaves it. Domains nest, up to 16 deep; an access must pass every one of them.
Entering needs no_new_privs or CAP_SYS_ADMIN. Numbers and structures are those of linux/landlock.h.

What it does not do, so that something else must: it knows no right for UDP, raw, MPTCP and SCTP sockets, for
MSG_FASTOPEN (a connect inside a send), for path names of unix sockets, for stat(2), chmod(2), chown(2), utime(2),
flock(2), and for prlimit(2), setpriority(2) and sched_setaffinity(2) on processes outside.
"""

from __future__ import annotations

import os
import stat
import struct

from lattice_agent.exec.kernel import files, libc

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
"""execve(2) asks for EXECUTE and READ_FILE."""
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER = 1 << 13
"""Link or rename across directories, ABI 2. Always refused where it is not allowed, handled or not."""
TRUNCATE = 1 << 14
"""ABI 3."""
IOCTL_DEV = 1 << 15
"""Device ioctls on devices opened inside, ABI 5. A terminal test on one then fails with EACCES instead of ENOTTY."""
ALL_FILES = (1 << 16) - 1

READ_ONLY = READ_FILE | READ_DIR
READ_EXECUTE = READ_ONLY | EXECUTE
WRITE = (
    WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER
)
"""All that a work directory needs besides reading; no device nodes."""
OF_ONE_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What a rule on something that is no directory may say; the kernel refuses more with EINVAL."""

BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
"""ABI 4. bind(2) only: listen(2) on a socket that was never bound is not asked."""
ABSTRACT_SOCKET, SIGNAL = 1 << 0, 1 << 1
"""ABI 6: no connection to an abstract unix socket, no signal to a process, outside of the domain."""

NEWEST_ABI = 7
"""Newest this module was written for: a newer kernel is used as if it were this one."""
SCOPING_ABI = 6
_FILE_RIGHTS_OF_ABI = (0, 13, 14, 15, 15, 16, 16, 16)
"""How many of the file rights each ABI knows, the ABI being the index."""
_NET_ABI, _LOG_ABI = 4, 7

_CREATE_VERSION = 1 << 0
_RULE_PATH_BENEATH = 1
_LOG_SAME_EXEC_OFF, _LOG_SUBDOMAINS_OFF = 1 << 0, 1 << 2
_RULESET = struct.Struct("=3Q")
"""struct landlock_ruleset_attr: handled files, handled net, scopes. Net came with ABI 4, scopes with ABI 6."""
_SIZE_OF_ABI = (0, 8, 8, 8, 16, 16, 24, 24)
_PATH_BENEATH = "=Qi"
"""struct landlock_path_beneath_attr (packed): allowed rights, descriptor."""
_EOPNOTSUPP = 95

_WORDS = (
    ("read", READ_ONLY), ("execute", EXECUTE), ("write", WRITE), ("read-file", READ_FILE), ("read-dir", READ_DIR),
    ("write-file", WRITE_FILE), ("truncate", TRUNCATE), ("remove-dir", REMOVE_DIR), ("remove-file", REMOVE_FILE),
    ("make-dir", MAKE_DIR), ("make-file", MAKE_REG), ("make-socket", MAKE_SOCK), ("make-fifo", MAKE_FIFO),
    ("make-symlink", MAKE_SYM), ("make-char", MAKE_CHAR), ("make-block", MAKE_BLOCK), ("refer", REFER),
    ("ioctl", IOCTL_DEV),
)  # fmt: skip
"""Groups before their members: the first that fits entirely is named."""


def abi() -> int:
    """The Landlock version of this kernel; 0 where it is not built in, not enabled at boot, or not to be called."""
    try:
        return libc.call("landlock_create_ruleset", None, 0, _CREATE_VERSION)
    except OSError:
        return 0


def cut(version: int, files: int, net: int, scopes: int) -> tuple[int, int, int, int]:
    """What of the wanted restrictions a kernel of this ABI knows, and the bytes of the structure that says so.

    The kernel refuses rights it does not know (EINVAL) and bytes it does not know (E2BIG, unless they are zero).
    """
    version = min(version, NEWEST_ABI)
    return (
        files & ((1 << _FILE_RIGHTS_OF_ABI[version]) - 1),
        net if version >= _NET_ABI else 0,
        scopes if version >= SCOPING_ABI else 0,
        _SIZE_OF_ABI[version],
    )


def restrict_flags(version: int) -> int:
    """Flags for landlock_restrict_self: no audit records of what a script is refused, where they can be turned off.

    A script that tries and fails is no fault of the node, and would fill its log at will.
    """
    return _LOG_SAME_EXEC_OFF | _LOG_SUBDOMAINS_OFF if version >= _LOG_ABI else 0


def describe(rights: int) -> str:
    """File rights in words, such as ``read, execute``; groups are named only when they are complete."""
    words = []
    for word, group in _WORDS:
        if group and rights & group == group:
            words.append(word)
            rights &= ~group
    return ", ".join(words) or "nothing"


class Ruleset:
    """Restrictions in preparation, behind the descriptor ``fd`` (closed on exec).

    One object serves many processes: its rules can be copied into any number of forks with ``enter(ruleset.fd)``.
    """

    __slots__ = ("fd", "files", "net", "scopes")

    def __init__(
        self,
        files: int = ALL_FILES,
        *,
        deny_tcp: bool = False,
        scope_abstract: bool = False,
        scope_signals: bool = False,
        call: libc.Call = libc.call,
    ) -> None:
        """Handle these file rights, all of TCP, and these scopes, as far as the kernel knows them.

        ``files``, ``net`` and ``scopes`` then hold what is in force. Raises OSError: EOPNOTSUPP or ENOSYS without
        Landlock, ENOMSG when nothing is left to restrict.
        """
        net = BIND_TCP | CONNECT_TCP if deny_tcp else 0
        scopes = (ABSTRACT_SOCKET if scope_abstract else 0) | (SIGNAL if scope_signals else 0)
        self.files, self.net, self.scopes, size = cut(abi(), files, net, scopes)
        attributes = _RULESET.pack(self.files, self.net, self.scopes)[: size or None]
        self.fd = call("landlock_create_ruleset", attributes, len(attributes), 0)

    def allow(self, fd: int, rights: int) -> None:
        """Allow file rights on what ``fd`` (O_PATH will do) is open on and, for a directory, on all below it.

        The rule sticks to the file, not to a path: it holds through every mount that shows it, in any mount namespace.
        "Below" goes by the mounts through which a process asks: a rule on /usr reaches into file systems mounted below
        it, says nothing about /usr/lib bound to a place outside of it, and nothing at all once /usr is mounted over.

        Rights of directories are left out for anything else; what is not handled needs no rule. Raises OSError with
        what was to be allowed: EBADFD for a pipe, socket or memfd, which Landlock never restricts.
        """
        rights &= self.files
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= OF_ONE_FILE
        if not rights:
            return
        try:
            libc.call("landlock_add_rule", self.fd, *path_beneath(fd, rights))
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"landlock_add_rule({_name(fd)}: {describe(rights)})") from None

    def restrict(self) -> None:
        """Put this process into a domain of these rules, for good, and close the ruleset. Raises OSError."""
        try:
            enter(self.fd)
        finally:
            self.close()

    def close(self) -> None:
        """Give the descriptor back; processes that entered are not affected."""
        os.close(self.fd)


def enter(ruleset_fd: int) -> None:
    """Put this process into a domain of the ruleset that is open at a descriptor, which stays open.

    Every call makes a domain of its own: two forks that enter the same ruleset cannot signal each other if it scopes
    signals. Raises OSError: EPERM without no_new_privs, E2BIG when the nesting is too deep.
    """
    libc.call("landlock_restrict_self", ruleset_fd, restrict_flags(abi()))


def path_beneath(fd: int, rights: int) -> tuple[int, libc.Packed, int]:
    """What landlock_add_rule takes after its ruleset for a rule on what ``fd`` is open on, and on all below it."""
    return _RULE_PATH_BENEATH, libc.Packed(_PATH_BENEATH, rights, fd), 0


def scope_signals(call: libc.Call = libc.call) -> None:
    """Put this process into a domain that keeps signals and abstract sockets inside; files stay as they are.

    For a reaper: kill(-1) from it reaches itself and what it starts, nothing else; in a domain of its own below, a
    script cannot signal the reaper. Raises OSError (EOPNOTSUPP) below ABI 6: the reaper would then kill strangers.

    A domain that says nothing about files refuses REFER (mv, link and git across directories) as soon as a nested one
    handles files (seen with Linux 6.18). So this one handles REFER and allows it everywhere; mount(2) is the price,
    which no domain that handles files permits.
    """
    version = abi()
    if version < SCOPING_ABI:
        raise OSError(_EOPNOTSUPP, f"Landlock ABI {SCOPING_ABI} scopes signals, this kernel has {version}", "landlock")
    rules = Ruleset(REFER, scope_abstract=True, scope_signals=True, call=call)
    root = files.open_path("/", call)
    call("landlock_add_rule", rules.fd, *path_beneath(root, REFER))
    call("close", root)
    call("landlock_restrict_self", rules.fd, restrict_flags(version))
    call("close", rules.fd)


def _name(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"descriptor {fd}"
