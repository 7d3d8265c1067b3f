"""Fill memory to a little below the limit, and then pipes with names, one descriptor for each."""

import gc
import os
import tempfile
import time

PIPES = 120
ballast = b"x" * (165 << 20)
junk = b"x" * (1 << 16)
gc.freeze()
place = tempfile.mkdtemp()


def fill():
    for number in range(PIPES):
        path = f"{place}/{os.getpid()}-{number}"
        os.mkfifo(path)
        os.write(os.open(path, os.O_RDWR | os.O_NONBLOCK), junk)


for _ in range(40):
    if os.fork() == 0:
        fill()
        time.sleep(2)
        os._exit(0)
    time.sleep(0.015)
time.sleep(0.7)
