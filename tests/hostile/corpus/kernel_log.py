"""Read and clear the kernel's log, and write to it."""

import os

from attempts import attempt, call

SYSLOG = (103, 116)
READ_ALL, SIZE_UNREAD, SIZE_BUFFER = 3, 9, 10


def open_and_close(path, flags):
    os.close(os.open(path, flags | os.O_NONBLOCK))


attempt("syslog, read all", call, SYSLOG, READ_ALL, bytes(4096), 4096)
attempt("syslog, unread", call, SYSLOG, SIZE_UNREAD, None, 0)
attempt("syslog, size", call, SYSLOG, SIZE_BUFFER, None, 0)
attempt("/dev/kmsg", open_and_close, "/dev/kmsg", os.O_RDONLY)
attempt("/dev/kmsg for writing", open_and_close, "/dev/kmsg", os.O_WRONLY)
attempt("/proc/kmsg", open_and_close, "/proc/kmsg", os.O_RDONLY)
