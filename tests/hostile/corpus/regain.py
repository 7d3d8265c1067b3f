"""Get back what was given up: ids, groups, capabilities, priority, memory that stays."""

import ctypes
import os
import struct

from attempts import attempt, call, libc

CAPSET, SET_SECUREBITS, CAP_AMBIENT, RAISE = (126, 91), 28, 47, 2
HEADER = struct.pack("=Ii", 0x2008_0522, 0)
SYS_ADMIN = 21


def capabilities():
    """All of the lower half, where root of the host has them already."""
    data = ctypes.create_string_buffer(24)
    call((125, 90), HEADER, data)
    permitted = struct.unpack_from("=6I", data)[1] | 1 << SYS_ADMIN
    high = struct.unpack_from("=6I", data)[4]
    call(CAPSET, HEADER, struct.pack("=6I", permitted, permitted, permitted, high, high, high))


def ambient():
    capabilities()
    prctl(CAP_AMBIENT, RAISE, SYS_ADMIN)


def prctl(option, *arguments):
    values = (*arguments, 0, 0, 0, 0)[:4]
    if libc.prctl(option, *(ctypes.c_ulong(value) for value in values)):
        raise OSError(ctypes.get_errno(), "prctl")


def real_time():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


attempt("uid 0", os.setresuid, 0, 0, 0)
attempt("gid 0", os.setresgid, 0, 0, 0)
attempt("the ids of somebody", os.setresuid, 1, 1, 1)
attempt("groups", os.setgroups, [0, 4, 27])
attempt("capabilities", capabilities)
attempt("ambient capabilities", ambient)
attempt("securebits", prctl, SET_SECUREBITS, 0)
attempt("priority", os.setpriority, os.PRIO_PROCESS, 0, -5)
attempt("real time", real_time)
attempt("lock all memory", call, (151, 230), 3)
attempt("root", os.chroot, "/")
