"""Brings the loopback interface of a fresh network namespace up (netdevice(7))."""

from __future__ import annotations

import socket
import struct

from lattice_agent.exec.kernel import libc

_SIOCSIFFLAGS = 0x8914
_UP = 1
_REQUEST = struct.Struct("=16sH22x")
"""struct ifreq with its flags."""


def bring_up(call: libc.Call = libc.call) -> None:
    """Set ``lo`` up; the kernel gives it 127.0.0.1 and ::1 by itself. Needs CAP_NET_ADMIN in the namespace.

    Fresh, it has no other flag that could be set or cleared this way.
    """
    fd = call("socket", socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    call("ioctl", fd, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", _UP))
    call("close", fd)
