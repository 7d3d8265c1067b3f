"""Fill memory, share it with many processes, and have each of them write to its copy: no process's size changes."""

import mmap
import os
import time

SIZE, CHILDREN = 100 << 20, 20
held = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, SIZE, mmap.PAGESIZE):
    held[at] = 1
started, start = os.pipe()
done, tell = os.pipe()
for _ in range(CHILDREN):
    if os.fork() == 0:
        os.read(started, 1)
        for at in range(0, SIZE // 4, mmap.PAGESIZE):
            held[at] = 2
        os.write(tell, b"x")
        time.sleep(2)
        os._exit(0)
os.write(start, bytes(CHILDREN))
for _ in range(CHILDREN):
    os.read(done, 1)
time.sleep(0.5)
