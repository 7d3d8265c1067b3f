"""Fill the buffers of unix sockets, which belong to no process, in many processes at once."""

import os
import socket
import time

junk = b"x" * (1 << 16)


def fill():
    held = [end for _ in range(30) for end in socket.socketpair()]
    for end in held:
        end.setblocking(False)
        try:
            while True:
                end.send(junk)
        except BlockingIOError:
            pass
    return held


for _ in range(28):
    if os.fork() == 0:
        held = fill()
        time.sleep(2)
        os._exit(0)
time.sleep(1.5)
