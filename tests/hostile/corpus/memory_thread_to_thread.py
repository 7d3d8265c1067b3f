"""Fill memory after the main thread has ended, from threads each of which starts the next and ends at once."""

import ctypes
import os
import threading
import time

SYS_EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
GOAL = 400
held = []


def fill():
    held.append(b"x" * (1 << 20))
    if len(held) < GOAL:
        threading.Thread(target=fill).start()
    else:
        time.sleep(0.3)
        os._exit(0)


threading.Timer(0.1, fill).start()
ctypes.CDLL(None).syscall(ctypes.c_long(SYS_EXIT), 0)
