"""Fill memory to a little below the limit, and then pipes, which belong to no process, as many as can be had."""

import gc
import os
import time

PIPES = 126
ballast = b"x" * (165 << 20)
junk = b"x" * (1 << 16)
gc.freeze()


def fill():
    held = [os.pipe() for _ in range(PIPES)]
    for _, write in held:
        os.set_blocking(write, False)
        try:
            while True:
                os.write(write, junk)
        except BlockingIOError:
            pass


for _ in range(55):
    if os.fork() == 0:
        fill()
        time.sleep(2)
        os._exit(0)
    time.sleep(0.015)
time.sleep(0.5)
