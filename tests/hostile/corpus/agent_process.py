"""Look into the agent and its spawner through /proc, and stop, trace and rob them."""

import os
import signal

from attempts import attempt, call


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def steal_a_descriptor(pid):
    call(438, os.pidfd_open(pid), 0, 0)


def read_memory(pid):
    """The first bytes of its first mapping, as an outsider has to do it."""
    with open(f"/proc/{pid}/maps") as maps:
        start = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(start)
        memory.read(4)


def attach(pid):
    call((101, 117), 0x4206, pid, 0, 0)  # PTRACE_SEIZE: does not stop it


for who in ("AGENT", "SPAWNER"):
    pid = int(os.environ[who])
    for name in ("environ", "auxv", "maps", "stack", "io"):
        attempt(f"{who} {name}", read, f"/proc/{pid}/{name}")
    for name in ("root", "cwd", "exe", "ns/pid", "fd/0"):
        attempt(f"{who} {name}", os.readlink, f"/proc/{pid}/{name}")
    attempt(f"{who} descriptors", os.listdir, f"/proc/{pid}/fd")
    attempt(f"{who} files by its root", os.listdir, f"/proc/{pid}/root/")
    attempt(f"{who} memory", read_memory, pid)
    attempt(f"{who} ptrace", attach, pid)
    attempt(f"{who} pidfd_getfd", steal_a_descriptor, pid)
    attempt(f"{who} signal", os.kill, pid, signal.SIGCONT)
    attempt(f"{who} priority", os.setpriority, os.PRIO_PROCESS, pid, 0)
    attempt(f"{who} affinity", os.sched_setaffinity, pid, os.sched_getaffinity(0))
