"""Open every setting of the kernel for writing, read what is told to root alone, and make control groups."""

import errno
import os
import tempfile

from attempts import attempt

GROUPS = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"


def open_any_for_writing(top):
    """One that can be opened is enough; nothing is written."""
    error = FileNotFoundError(errno.ENOENT, top)
    for directory, _, names in os.walk(top):
        for name in names:
            try:
                os.close(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_NONBLOCK))
                return
            except OSError as one:
                error = one
    raise error


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


def read(path):
    with open(path, "rb") as file:
        if not file.read(1):
            raise PermissionError(errno.EACCES, "it is covered", path)


def make_a_group():
    os.rmdir(tempfile.mkdtemp(dir=GROUPS))


for top in ("/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs", "/proc/sys/net", "/proc/irq"):
    attempt(f"write below {top}", open_any_for_writing, top)
for name in ("sysrq-trigger", "mtrr", "self/oom_score_adj", "self/coredump_filter", "self/timerslack_ns"):
    attempt(f"write to /proc/{name}", open_for_writing, f"/proc/{name}")
for name in ("kallsyms", "kcore", "keys", "sched_debug", "timer_list"):
    attempt(f"read /proc/{name}", read, f"/proc/{name}")
attempt("make a control group", make_a_group)
