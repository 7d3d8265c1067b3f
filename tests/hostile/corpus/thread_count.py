"""Start threads until it is refused, or until there are 300."""

import _thread
import os
import time

from attempts import report

_thread.stack_size(64 * 1024)
threads = 0
result = "works"
try:
    while threads < 300:
        _thread.start_new_thread(time.sleep, (5,))
        threads += 1
except RuntimeError:
    result = "EAGAIN"
report("300 threads", result)
report("threads", threads)
os._exit(0)
