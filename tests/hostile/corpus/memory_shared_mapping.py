"""Fill shared anonymous memory, then drop the pages from the only process that had them: they stay."""

import mmap
import time

held = []
for _ in range(40):
    held.append(mmap.mmap(-1, 10 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
    held[-1].write(b"x" * (10 << 20))
    held[-1].madvise(mmap.MADV_DONTNEED)
time.sleep(0.5)
