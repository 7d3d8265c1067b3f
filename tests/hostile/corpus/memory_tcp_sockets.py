"""Fill the buffers of as many TCP connections to itself as there are descriptors, in many processes."""

import os
import socket
import time


def fill():
    held = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        while True:
            held.append(socket.create_connection(listener.getsockname()))
            held.append(listener.accept()[0])
            for end in held[-2:]:
                end.setblocking(False)
                try:
                    while True:
                        end.send(b"x" * 65536)
                except BlockingIOError:
                    pass


for _ in range(48):
    if os.fork() == 0:
        try:
            fill()
        except OSError:
            time.sleep(3)
            os._exit(0)
time.sleep(2)
