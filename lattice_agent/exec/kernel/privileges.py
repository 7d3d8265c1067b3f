"""What a process may do beyond its ids: capabilities(7), securebits, no_new_privs, the session keyring."""

from __future__ import annotations

import errno
import struct

from lattice_agent.exec.kernel import libc

CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 5, 6, 7, 8
_PR_SET_SECUREBITS = 28
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _AMBIENT_RAISE = 47, 2
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_NOROOT, _KEEP_CAPS, _NO_AMBIENT_RAISE = 1 << 0, 1 << 4, 1 << 6
_LOCKS = 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7
LOCKED_SECUREBITS = _NOROOT | _NO_AMBIENT_RAISE | _LOCKS
"""Uid 0 means nothing, capabilities go with the uid and never come back; all of it locked."""
_KEYCTL_JOIN_SESSION_KEYRING = 1
_CAPABILITY_VERSION_3 = 0x2008_0522
_HEADER = struct.Struct("=Ii")
_SETS = struct.Struct("=6I")


def drop_groups(call: libc.Call = libc.call) -> None:
    """Leave every supplementary group. Needs CAP_SETGID."""
    call("setgroups", 0, None)


def become(uid: int, gid: int, call: libc.Call = libc.call) -> None:
    """Take other ids for good, but keep the permitted capabilities until the next exec."""
    call("prctl", _PR_SET_SECUREBITS, _KEEP_CAPS, 0, 0, 0)
    call("setresgid", gid, gid, gid)
    call("setresuid", uid, uid, uid)


def lock_securebits(call: libc.Call = libc.call) -> None:
    """See LOCKED_SECUREBITS. Needs CAP_SETPCAP. What is in the ambient set already stays there."""
    call("prctl", _PR_SET_SECUREBITS, LOCKED_SECUREBITS, 0, 0, 0)


def keep_only(capabilities: tuple[int, ...], call: libc.Call = libc.call) -> None:
    """Give up all other capabilities; these survive the next exec (as ambient ones). Before ``lock_securebits``."""
    kept = sum(1 << number for number in capabilities)
    _capset(kept, kept, call)
    for number in capabilities:
        call("prctl", _PR_CAP_AMBIENT, _AMBIENT_RAISE, number, 0, 0)


def no_new_privileges(call: libc.Call = libc.call) -> None:
    """No exec gives anything: set-user-id bits and file capabilities are ignored from here on."""
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def become_subreaper(call: libc.Call = libc.call) -> None:
    """Orphans below this process become its children (PR_SET_CHILD_SUBREAPER)."""
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int, call: libc.Call = libc.call) -> None:
    """Get signal ``number`` when the parent dies. Forgotten when ids change, so set after that."""
    call("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)


def leave_session_keyring(call: libc.Call = libc.call) -> None:
    """Replace the session keyring, which may hold the agent's keys, by an empty one.

    A kernel without keyrings has none to leave."""
    call("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None, tolerate=(errno.ENOSYS,))


def _capset(permitted: int, inheritable: int, call: libc.Call) -> None:
    low, high = permitted & 0xFFFF_FFFF, permitted >> 32
    passed_low, passed_high = inheritable & 0xFFFF_FFFF, inheritable >> 32
    header = _HEADER.pack(_CAPABILITY_VERSION_3, 0)
    call("capset", header, _SETS.pack(low, low, passed_low, high, high, passed_high))
