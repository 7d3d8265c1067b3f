"""Change processes that are not its own: limits, priority, processors, memory, groups, settings in /proc."""

import ctypes
import os
import resource

from attempts import attempt, call

WRITEV, MADVISE, MOVE_PAGES, ROBUST_LIST = (311, 271), 440, (279, 239), (274, 100)
IOPRIO_SET, KCMP, PTRACE, SEIZE = (251, 30), (312, 272), (101, 117), 0x4206
COLD = 20


def limit(pid):
    resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE))


def nothing_to_memory(pid):
    """Opens it for writing, and writes no byte."""
    fd = os.open(f"/proc/{pid}/mem", os.O_RDWR)
    os.close(fd)


def advise(pid):
    call(MADVISE, os.pidfd_open(pid), None, 0, COLD, 0)  # of nothing


def attach(pid):
    call(PTRACE, SEIZE, pid, 0, 0)  # does not stop it


def open_for_writing(pid, name):
    os.close(os.open(f"/proc/{pid}/{name}", os.O_WRONLY))


TARGETS = {"agent": int(os.environ["AGENT"]), "spawner": int(os.environ["SPAWNER"]), "parent": os.getppid() or 1}
for who, pid in TARGETS.items():
    attempt(f"limits of the {who}", limit, pid)
    attempt(f"priority of the {who}", os.setpriority, os.PRIO_PROCESS, pid, 0)
    attempt(f"input and output priority of the {who}", call, IOPRIO_SET, 1, pid, 0)
    attempt(f"processors of the {who}", os.sched_setaffinity, pid, os.sched_getaffinity(0))
    attempt(f"memory of the {who}, by its file", nothing_to_memory, pid)
    attempt(f"memory of the {who}, process_vm_writev", call, WRITEV, pid, None, 0, None, 0, 0)
    attempt(f"memory of the {who}, process_madvise", advise, pid)
    attempt(f"pages of the {who}", call, MOVE_PAGES, pid, 0, None, None, None, 0)
    attempt(f"robust futexes of the {who}", call, ROBUST_LIST, pid, *(ctypes.create_string_buffer(8) for _ in range(2)))
    attempt(f"comparison with the {who}", call, KCMP, pid, pid, 1, 0, 0)
    attempt(f"trace of the {who}", attach, pid)
    attempt(f"oom_score_adj of the {who}", open_for_writing, pid, "oom_score_adj")
    attempt(f"coredump_filter of the {who}", open_for_writing, pid, "coredump_filter")
    attempt(f"clear_refs of the {who}", open_for_writing, pid, "clear_refs")
