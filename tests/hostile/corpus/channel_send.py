"""Say something to a script in another cell, by locks on files that both can see, and by opening them: for SAYS_S."""

import fcntl
import os
import struct
import time
from contextlib import suppress

SHARED = (
    "/", "/usr", "/usr/bin/env", "/bin/sh", "/etc", "/etc/passwd", "/etc/hosts", "/etc/ld.so.cache", "/dev",
    "/dev/null", "/dev/urandom", "/proc", "/proc/version",
)  # fmt: skip
OFD_SETLK = 37
FIRST_BYTE = struct.pack("=hh4xqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)

held = []
for path in SHARED:
    with suppress(PermissionError):
        held.append(os.open(path, os.O_RDONLY))
for fd in held:
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with suppress(OSError):
        fcntl.fcntl(fd, OFD_SETLK, FIRST_BYTE)
end = time.monotonic() + float(os.environ.get("SAYS_S", "1"))
while time.monotonic() < end:
    for path in SHARED:
        with suppress(PermissionError):
            os.close(os.open(path, os.O_RDONLY))
    time.sleep(0.02)
