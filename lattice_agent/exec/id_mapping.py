"""A user namespace with ids that were given to the agent's user: user_namespaces(7), newuidmap(1), newgidmap(1).

Without privileges a process may map one id, its own. More are mapped by two set-user-id programs (package uidmap),
which take them from the user's ranges in /etc/subuid and /etc/subgid. They write to a process from outside of its new
namespace, so two children stay outside and wait until it is made.

Whether it works is found out by doing it. ``look`` finds the common reasons why it cannot.
"""

from __future__ import annotations

import os
import pwd
import signal
import stat

import prctl

from lattice_agent.exec.id_range import NoRangeError, find_range, part_of
from lattice_agent.exec.kernel import namespaces, signals

TOOLS = ("/usr/bin/newuidmap", "/usr/bin/newgidmap")
FILES = ("/etc/subuid", "/etc/subgid")
FILE_MOST = 1 << 20
"""Bytes of each; a larger one is not read, and there is no range."""
MAP_S = 10
"""For each of the programs, which may ask a directory service who the user is; then SIGALRM ends it."""
REFUSED = "it was tried: "
"""Begins the reason when everything was there for it. That is news to whoever has provided for it."""
_SAID_MOST = 200


class NoMappingError(Exception):
    """Subordinate ids cannot be had; the message says why."""


def tools_there() -> bool:
    """Whether it is worth looking any further."""
    return all(os.access(tool, os.X_OK) for tool in TOOLS)


def look(count: int) -> tuple[range, range]:
    """The ranges of this process's user, of uids and of gids, each of at least ``count``. Raises NoMappingError.

    May ask a directory service for the user's name.
    """
    for tool in TOOLS:
        if not os.access(tool, os.X_OK):
            raise NoMappingError(f"{tool} is not there")
    if prctl.get_no_new_privs():
        raise NoMappingError("no_new_privs is set (systemd: NoNewPrivileges=yes), under which newuidmap has no effect")
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise NoMappingError(f"uid {uid} has no login name, which newuidmap asks for") from None
    owners = (os.fsencode(name), str(uid).encode())
    uids, gids = (_range_in(path, owners, count, own) for path, own in zip(FILES, (uid, os.getegid()), strict=True))
    return uids, gids


def enter_mapped_namespace(own_inside: int, first_inside: int, count: int) -> None:
    """Move this process, which has one thread, into a new user namespace: its own ids are called ``own_inside`` there,
    and ``count`` subordinate ones ``first_inside`` and up, a part of the ranges that is chosen by chance.

    Raises NoMappingError; then the process has to end, as it may be in a namespace without ids. Waits for two programs.
    """
    uids, gids = look(count)
    chance = int.from_bytes(os.urandom(4), "big")
    signals.forget_child_watch()
    target = str(os.getpid())
    gate, open_gate = os.pipe2(os.O_CLOEXEC)
    waiting = []
    for tool, ids, own in zip(TOOLS, (uids, gids), (os.geteuid(), os.getegid()), strict=True):
        part = part_of(ids, count, chance)
        words = [target, str(own_inside), str(own), "1", str(first_inside), str(part.start), str(count)]
        waiting.append((tool, *_start_behind(gate, open_gate, [tool, *words])))
    os.close(gate)
    try:
        namespaces.unshare(namespaces.NEWUSER)
        os.write(open_gate, b"u" * len(waiting))
    finally:
        os.close(open_gate)
        problems = [_problem(tool, pid, said) for tool, pid, said in waiting]
    if problem := "; ".join(filter(None, problems)):
        raise NoMappingError(REFUSED + problem)


def _start_behind(gate: int, open_gate: int, argv: list[str]) -> tuple[int, int]:
    """A child that executes the program when it has read a byte from the gate: process id, what it says (a pipe)."""
    said, says = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespaces.clone(0)
    if pid == 0:
        try:
            os.close(open_gate)
            if os.read(gate, 1):
                os.dup2(says, 2)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(MAP_S)  # it goes on over the exec
                signals.unblock_all()
                os.execve(argv[0], argv, {})  # noqa: S606 - there is nothing for a shell to do
        finally:
            os._exit(1)
    os.close(pidfd)
    os.close(says)
    return pid, said


def _problem(tool: str, pid: int, said: int) -> str:
    """Why the program failed; empty if it did not. Waits for its end."""
    _, status = os.waitpid(pid, 0)
    os.set_blocking(said, False)
    try:
        text = os.read(said, _SAID_MOST).decode("ascii", "replace").strip() if status else ""
    except BlockingIOError:
        text = ""
    finally:
        os.close(said)
    if not status:
        return ""
    return text or f"{tool} ended with {os.waitstatus_to_exitcode(status)}"


def _range_in(path: str, owners: tuple[bytes, ...], count: int, own: int) -> range:
    try:
        return find_range(_read(path), owners, count, own)
    except NoRangeError as error:
        raise NoMappingError(f"{path}: {error}") from None
    except OSError as error:
        raise NoMappingError(f"{path}: {error.strerror}") from None


def _read(path: str) -> bytes:
    """Raises OSError, NoRangeError. Never waits: what is no ordinary file is not read."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_MOST:
            raise NoRangeError(f"is no file, or larger than {FILE_MOST} bytes")
        return os.read(fd, FILE_MOST)
    finally:
        os.close(fd)
