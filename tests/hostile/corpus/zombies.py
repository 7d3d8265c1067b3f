"""Leave as many dead children as there may be processes, and collect none."""

import os
import time

from attempts import report

count = 0
try:
    while count < 300:
        if os.fork() == 0:
            os._exit(0)
        count += 1
except BlockingIOError:
    pass
time.sleep(0.05)
report("children", count)
