"""Map /dev/zero shared, which is shared memory by another name, and fill it."""

import mmap
import os
import time

zero = os.open("/dev/zero", os.O_RDWR)
held = []
for _ in range(40):
    held.append(mmap.mmap(zero, 10 << 20, flags=mmap.MAP_SHARED))
    held[-1].write(b"x" * (10 << 20))
    held[-1].madvise(mmap.MADV_DONTNEED)
time.sleep(0.5)
