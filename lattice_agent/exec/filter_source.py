"""Where the spawner gets its seccomp programs: from a short-lived child that loads libseccomp, over a pipe.

The child is a fork, not an exec, and imports what it needs after the fork: neither libseccomp nor the list of system
calls ever is in the spawner's memory.
"""

from __future__ import annotations

import os
import struct

from lattice_agent.exec.kernel import descriptors, signals

_LENGTH = struct.Struct("=I")
_CHUNK = 65536
_MOST = 1 << 20
"""Bytes taken from the child, all programs together."""
VARIANTS = ((True, False), (True, True), (False, True))
"""(inet, shares_host) of the programs, in the order they are sent."""


class Filters:
    """The programs, once the child has sent them."""

    def __init__(self) -> None:
        self._read = -1
        self._data = b""
        self._programs: dict[tuple[bool, bool], bytes] = {}
        self.asked = False
        self.error = ""
        """Why there are none."""

    def ask(self, *, memory_watch: bool) -> int:
        """Start the child; its process id. ``fileno`` is readable when it says something."""
        self.asked = True
        self._read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _export(write, memory_watch)
        os.close(write)
        return pid

    def fileno(self) -> int:
        """The pipe; -1 while nothing is asked."""
        return self._read

    def read(self) -> bool:
        """Take in what is there; True at the end, when ``program`` answers or ``error`` says why not."""
        piece = os.read(self._read, _CHUNK)
        self._data += piece
        if piece and len(self._data) <= _MOST:
            return False
        os.close(self._read)
        self._read = -1
        self._take_apart()
        return True

    def program(self, *, inet: bool, shares_host: bool) -> bytes | None:
        """The program of a variant; None while there is none."""
        return self._programs.get((inet, shares_host))

    def _take_apart(self) -> None:
        at = 0
        for variant in VARIANTS:
            header = self._data[at : at + _LENGTH.size]
            length = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else 0
            if not length or at + _LENGTH.size + length > len(self._data):
                self._programs.clear()
                told = "" if length else self._data[at + _LENGTH.size :].decode("utf-8", "replace")
                self.error = told or "the filter's maker died"
                break
            at += _LENGTH.size
            self._programs[variant] = self._data[at : at + length]
            at += length
        self._data = b""


def _export(write: int, memory_watch: bool) -> None:
    """The child's life; never returns. A length of 0 says that a message follows."""
    data = b""
    try:
        descriptors.keep_only({0, 1, 2, write})
        signals.forget_child_watch()
        signals.unblock_all()
        from lattice_agent.errors import SandboxError
        from lattice_agent.exec.filter_export import export_filter
        from lattice_agent.exec.syscalls import Variant

        try:
            for inet, shares_host in VARIANTS:
                program = export_filter(Variant(inet=inet, memory_watch=memory_watch, shares_host=shares_host))
                data += _LENGTH.pack(len(program)) + program
        except SandboxError as error:
            data += _LENGTH.pack(0) + f"seccomp: {error}; {error.hint()}".encode()
        with open(write, "wb") as pipe:
            pipe.write(data)
    finally:
        os._exit(0)
