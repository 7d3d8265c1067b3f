"""Read one byte in every two megabytes of huge empty mappings: the pages are shared, the page tables are not."""

import mmap
import os
import time

for _ in range(40):
    if os.fork() == 0:
        held = []
        try:
            while True:
                held.append(mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ))
                for at in range(0, 1 << 30, 2 << 20):
                    held[-1][at]
        except OSError:
            time.sleep(3)
            os._exit(0)
time.sleep(2)
