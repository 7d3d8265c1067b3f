"""Fill the buffers of as many unix sockets as there are descriptors, in many processes."""

import os
import socket
import time

for _ in range(48):
    if os.fork() == 0:
        held = []
        try:
            while True:
                held.append(socket.socketpair())
                for end in held[-1]:
                    end.setblocking(False)
                    try:
                        while True:
                            end.send(b"x" * 65536)
                    except BlockingIOError:
                        pass
        except OSError:
            time.sleep(3)
            os._exit(0)
time.sleep(2)
