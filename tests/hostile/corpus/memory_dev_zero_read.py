"""Map /dev/zero shared, for reading only: the pages that are read are allocated all the same."""

import mmap
import os
import time

zero = os.open("/dev/zero", os.O_RDONLY)
held = []
for _ in range(40):
    held.append(mmap.mmap(zero, 10 << 20, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ))
    for at in range(0, 10 << 20, 4096):
        held[-1][at]
time.sleep(0.5)
