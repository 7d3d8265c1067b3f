"""Whole messages and passed descriptors over an AF_UNIX SOCK_SEQPACKET pair (unix(7), SCM_RIGHTS). Never blocks.

A receiver gets a message whole or learns that it was cut; descriptors it did not ask for are closed here.
"""

from __future__ import annotations

import array
import os
import socket

ANCILLARY_DESCRIPTORS = 10
"""Room for descriptors in one message. The kernel closes what does not fit and says so with MSG_CTRUNC."""

_FD_SIZE = array.array("i").itemsize


class CutMessageError(Exception):
    """A message or its descriptors did not fit; what came of the descriptors has been closed.

    ``data``: the message, if only descriptors of it are missing.
    """

    def __init__(self, why: str, data: bytes = b"") -> None:
        super().__init__(why)
        self.data = data


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected, non-blocking pair whose ends are closed on exec."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def rights(descriptors: list[int] | tuple[()]) -> list[tuple[int, int, array.array[int]]]:
    """Ancillary data for ``sendmsg`` that passes ``descriptors``; the sender keeps and closes its own copies."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []


def receive(sock: socket.socket, limit: int) -> tuple[bytes, list[int]] | None:
    """The next message of at most ``limit`` bytes and its descriptors; None when nothing waits; ``b""`` at end-of-file.

    Raises CutMessageError for a longer message or more than ANCILLARY_DESCRIPTORS descriptors.
    """
    room = socket.CMSG_SPACE(ANCILLARY_DESCRIPTORS * _FD_SIZE)
    try:
        data, ancillary, flags, _ = sock.recvmsg(limit, room, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)
    except (BlockingIOError, InterruptedError):
        return None
    except ConnectionResetError:
        # The peer closed with our messages unread: to us the same as an orderly end.
        return b"", []
    descriptors = descriptors_in(ancillary)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(descriptors)
        if flags & socket.MSG_TRUNC:
            raise CutMessageError("message did not fit")
        raise CutMessageError("its descriptors did not fit: too many open files", data)
    return data, descriptors


def send(sock: socket.socket, data: bytes, descriptors: list[int] | tuple[()] = ()) -> bool:
    """Send one message; False when the peer is gone or its queue is full (it has then stopped listening)."""
    try:
        sock.sendmsg([data], rights(descriptors), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def close_all(descriptors: list[int]) -> None:
    """Close every descriptor of the list."""
    for fd in descriptors:
        os.close(fd)


def descriptors_in(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in received ancillary data."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _FD_SIZE])
    return list(found)
