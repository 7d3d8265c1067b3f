"""Fill the buffers of TCP connections to itself, in many processes at once."""

import os
import socket
import time
from contextlib import suppress

junk = b"x" * (1 << 16)


def fill():
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(50):
            held.append(socket.create_connection(listener.getsockname()))
            held.append(listener.accept()[0])
    for end in held:
        with suppress(PermissionError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        end.setblocking(False)
        try:
            while True:
                end.send(junk)
        except BlockingIOError:
            pass
    return held


for _ in range(8):
    if os.fork() == 0:
        held = fill()
        time.sleep(3)
        os._exit(0)
time.sleep(2)
