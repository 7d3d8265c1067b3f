"""Make new namespaces, in every way there is, and enter others."""

import os
import signal

from attempts import attempt, call

CLONE, CLONE3, UNSHARE, SETNS = (56, 220), 435, (272, 97), (308, 268)
PARENT = os.getppid() or 1
KINDS = {
    "mount": 0x0002_0000, "cgroup": 0x0200_0000, "uts": 0x0400_0000, "ipc": 0x0800_0000, "user": 0x1000_0000,
    "pid": 0x2000_0000, "net": 0x4000_0000, "time": 0x80,
}  # fmt: skip


def clone(flags):
    if call(CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


def clone3(flags):
    arguments = b"".join(number.to_bytes(8, "little") for number in (flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    if call(CLONE3, arguments, len(arguments)) == 0:
        os._exit(0)


def become_root_of_a_user_namespace():
    own = os.getuid()
    call(UNSHARE, KINDS["user"])
    with open("/proc/self/uid_map", "w") as ids:
        ids.write(f"0 {own} 1")


def enter(path):
    call(SETNS, os.open(path, os.O_RDONLY), 0)


for kind, flag in KINDS.items():
    attempt(f"unshare {kind}", call, UNSHARE, flag)
    if kind != "time":
        attempt(f"clone {kind}", clone, flag)
        attempt(f"clone {kind}, high bits", clone, 0x7FFF_0000 << 32 | flag)
    attempt(f"clone3 {kind}", clone3, flag)
attempt("root of a user namespace", become_root_of_a_user_namespace)
attempt("setns to the own", enter, "/proc/self/ns/uts")
attempt("setns to the parent's", enter, f"/proc/{PARENT}/ns/net")
attempt("a child beside the parent", clone, 0x8000)
