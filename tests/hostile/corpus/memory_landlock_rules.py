"""Make Landlock rulesets with a rule for every file that can be seen: memory of the kernel's that no process shows."""

import ctypes
import os
import struct
import time

libc = ctypes.CDLL(None, use_errno=True)
CREATE, ADD_RULE = 444, 445
files = []
for directory, _, names in os.walk("/usr"):
    files += [f"{directory}/{name}" for name in names]
    if len(files) > 20_000:
        break
held = []
for _ in range(100):
    held.append(libc.syscall(CREATE, struct.pack("=Q", 4), 8, 0))
if held[0] < 0:
    raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
for path in files:
    try:
        fd = os.open(path, os.O_PATH)
    except OSError:
        continue
    rule = struct.pack("=Qi", 4, fd)
    for ruleset in held:
        libc.syscall(ADD_RULE, ruleset, 1, rule, 0)
    os.close(fd)
time.sleep(0.5)
