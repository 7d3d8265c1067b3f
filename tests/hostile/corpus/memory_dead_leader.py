"""Fill memory from a thread after the main thread has ended: what /proc tells of the process then is zero."""

import ctypes
import os
import threading
import time

SYS_EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]


def fill():
    time.sleep(0.1)
    held = [b"x" * (1 << 20) for _ in range(400)]
    time.sleep(0.3)
    os._exit(not held)


threading.Thread(target=fill).start()
ctypes.CDLL(None).syscall(ctypes.c_long(SYS_EXIT), 0)
