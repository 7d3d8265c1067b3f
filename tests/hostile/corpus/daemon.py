"""Leave a daemon behind: double fork, a session of its own, no standard streams, another directory and name."""

import os
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.closerange(0, 256)
        os.execve("/bin/sleep", ["kworker/0:1", "60"], {})
    os._exit(0)
os.wait()
time.sleep(0.1)
