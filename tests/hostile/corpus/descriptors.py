"""Look for descriptors that were left open, read them, and speak to every socket among them."""

import os
import socket
import stat

from attempts import attempt

LEFT_OPEN = {77, 78}


def use(fd):
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        socket.socket(fileno=fd).send(b"\0\5" + bytes(8))  # a request as the spawner understands it
    else:
        os.read(fd, 64)


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


for fd in sorted(LEFT_OPEN | {fd for fd in range(3, 256) if is_open(fd)}):
    attempt(f"descriptor {fd}", use, fd)
