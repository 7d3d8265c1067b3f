"""Read a byte in every two megabytes of huge empty mappings: the pages are all the same one, their tables are not."""

import mmap
import os
import time

SIZE = 1 << 30


def fill():
    held = []
    try:
        while True:
            held.append(mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ))
            for at in range(0, SIZE, 2 << 20):
                held[-1][at]
    except OSError:
        return held


for _ in range(24):
    if os.fork() == 0:
        held = fill()
        time.sleep(2)
        os._exit(0)
time.sleep(1.5)
