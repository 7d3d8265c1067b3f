"""Brings the loopback interface of a fresh network namespace up (netdevice(7))."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_UP = 1
_REQUEST = struct.Struct("=16sH22x")
"""struct ifreq with its flags."""


def bring_up() -> None:
    """Set ``lo`` up; the kernel gives it 127.0.0.1 and ::1 by itself. Needs CAP_NET_ADMIN in the namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, _SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0))
        flags = _REQUEST.unpack(request)[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags | _UP))
