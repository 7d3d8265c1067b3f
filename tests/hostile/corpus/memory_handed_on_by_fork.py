"""Fill memory that is handed from process to process by fork(2): each fills a part, makes a child and ends.

Many such chains at once: whoever lists the processes and then looks at them one by one finds those of the list dead.
"""

import os
import time

CHAINS, PART, PARTS = 30, 1 << 20, 14


def chain():
    held = []
    for _ in range(PARTS):
        held.append(b"x" * PART)
        for _ in range(3):
            if os.fork():
                os._exit(0)
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)


end = time.monotonic() + 2.5
for _ in range(CHAINS):
    if os.fork() == 0:
        chain()
        os._exit(0)
time.sleep(2)
