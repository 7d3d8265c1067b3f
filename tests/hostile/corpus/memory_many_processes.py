"""Fill memory in forty processes, each of which stays below any limit of its own."""

import os
import time

for _ in range(40):
    if os.fork() == 0:
        held = b"x" * (10 << 20)
        time.sleep(1)
        os._exit(0)
time.sleep(0.7)
