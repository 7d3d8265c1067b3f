"""Find processes that are not its own, and signal whatever number may be one."""

import os
import signal

from attempts import report

MOST = 8000
own = {os.getpid(), os.getppid()}


def reached():
    """How many of all numbers, and what the kernel said last."""
    count, error = 0, "ESRCH"
    for pid in set(range(2, MOST)) - own:
        try:
            os.kill(pid, signal.SIGURG)
            count += 1
        except ProcessLookupError:
            pass
        except PermissionError:
            error = "EPERM"
    return "works" if count else error


others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in own]
report("see others", "works" if others else "ENOENT")
report("signal others", reached())
