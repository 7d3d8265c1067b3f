"""Fill memory to a little below the limit, then make Landlock rulesets with a rule for each of thousands of files."""

import ctypes
import os
import struct
from itertools import islice

libc = ctypes.CDLL(None, use_errno=True)
CREATE, ADD_RULE = 444, 445
EXECUTE = 1
FILES, RULESETS = 6000, 100
ballast = b"x" * (225 << 20)


def files():
    for directory, _, names in os.walk("/usr"):
        for name in names:
            yield f"{directory}/{name}"


def fill():
    rulesets = [libc.syscall(CREATE, struct.pack("=Q", EXECUTE), 8, 0) for _ in range(RULESETS)]
    if rulesets[0] < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    for path in islice(files(), FILES):
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        rule = struct.pack("=Qi", EXECUTE, fd)
        for ruleset in rulesets:
            libc.syscall(ADD_RULE, ruleset, 1, rule, 0)
        os.close(fd)


children = []
for _ in range(3):
    children.append(os.fork())
    if children[-1] == 0:
        fill()
        os._exit(0)
raise SystemExit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
