"""Fill memory that is handed from process to process by fork(2): each makes a child, which has it all, and ends.

Many such chains at once: whoever lists the processes and then looks at them one by one finds those of the list dead.
"""

import os
import time

CHAINS, PARTS = 16, 25
end = time.monotonic() + 2.5


def fork():
    """As os.fork; None while there are too many that are dead and not collected yet."""
    try:
        return os.fork()
    except BlockingIOError:
        return None


def chain():
    held = []
    for _ in range(PARTS):
        held.append(b"x" * (1 << 20))
        if fork():
            os._exit(0)
    while time.monotonic() < end:
        if fork():
            os._exit(0)


for _ in range(CHAINS):
    if fork() == 0:
        chain()
        os._exit(0)
time.sleep(2)
