"""Fill as many pipes as there are descriptors, in many processes."""

import os
import time

CHILDREN = 48
for _ in range(CHILDREN):
    if os.fork() == 0:
        held = []
        try:
            while True:
                held.append(os.pipe())
                os.set_blocking(held[-1][1], False)
                try:
                    while True:
                        os.write(held[-1][1], b"x" * 65536)
                except BlockingIOError:
                    pass
        except OSError:
            time.sleep(3)
            os._exit(0)
time.sleep(2)
