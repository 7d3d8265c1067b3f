"""What a script in a cell cannot reach: every attempt works outside, and is refused inside.

Each script makes its attempts twice: plainly as root in the world of the agent, where all of them succeed, so that none
is judged by how the kernel dislikes its arguments; and in cells, where none may. The exceptions are in tables.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hostile.cell_rig import (
    AGENTS,
    ROOT,
    Agent,
    World,
    assert_nothing_left,
    plainly,
    world_directory,
)

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

REFUSED = {"EPERM", "EACCES", "ENOENT", "EROFS", "ESRCH", "EBADF"}
"""Answers of a protection. EINVAL, EFAULT and their kin come from code that a script should not reach."""

PLACES = [("root", "strict"), ("nobody", "strict"), ("root", "network"), ("root", "landlock"), ("nobody", "landlock")]

ABSENT = {
    "x32 getpid": "ENOSYS", "x32 ptrace": "ENOSYS",  # a kernel without CONFIG_X86_X32_ABI
    "kexec_load": "ENOSYS", "init_module": "ENOSYS", "delete_module": "ENOSYS",  # built without them
    "read /proc/kcore": "ENOENT", "read /proc/sched_debug": "ENOENT", "write to /proc/sysrq-trigger": "ENOENT",
}  # fmt: skip
"""What this kernel does not have; checked each time by trying it outside. Where it is there, it has to work outside."""

REACHES_THE_KERNEL = {
    "clock_settime": "EINVAL", "reboot": "EINVAL", "swapon": "ENOENT", "quotactl": "ENOENT", "acct": "ENOENT",
    "clone time": "EINVAL",
}  # fmt: skip
"""Attempts that must not succeed outside either, the machine being what it is: what the kernel says after its checks of
privilege."""
