"""Make system calls that open most of the kernel: tracing, bpf, io_uring, userfaultfd, perf, modules, swap, quotas."""

import os
import struct

from attempts import attempt, call

PARENT = os.getpid()


def perf():
    attributes = struct.pack("=IIQ", 1, 128, 0).ljust(128, b"\0")  # PERF_TYPE_SOFTWARE, cpu clock
    call((298, 241), attributes, 0, -1, -1, 0)


def bpf():
    call((321, 280), 0, struct.pack("=IIII", 2, 4, 4, 1).ljust(128, b"\0"), 128)  # an array of one entry


def io_uring():
    call(425, 4, bytes(120))


def read_memory_of_the_parent():
    call((310, 270), PARENT, None, 0, None, 0, 0)


def handle():
    call((303, 264), -100, b"/usr", struct.pack("=Ii", 64, 0).ljust(128, b"\0"), bytes(8), 0)


attempt("ptrace", call, (101, 117), 0, 0, 0, 0)
attempt("ptrace of the parent", call, (101, 117), 0x4206, PARENT, 0, 0)
attempt("process_vm_readv", read_memory_of_the_parent)
attempt("kcmp", call, (312, 272), PARENT, PARENT, 1, 0, 0)
attempt("perf_event_open", perf)
attempt("bpf", bpf)
attempt("io_uring_setup", io_uring)
attempt("userfaultfd", call, (323, 282), 1)
attempt("name_to_handle_at", handle)
attempt("fanotify_init", call, (300, 262), 0, 0)
attempt("io_setup", call, (206, 0), 1, bytes(8))
attempt("set_mempolicy", call, (238, 237), 0, None, 0)
attempt("memfd_secret", call, 447, 0)
attempt("sync", call, (162, 81))
attempt("setdomainname", call, (171, 162), b"hostile", 7)
attempt("finit_module", call, (313, 273), -1, b"", 0)
attempt("kexec_file_load", call, (320, 294), -1, -1, 0, None, 0)
attempt("init_module", call, (175, 105), None, 0, b"")
attempt("delete_module", call, (176, 106), b"no-such-module", 0)
attempt("kexec_load", call, (246, 104), 0, 0, None, 0)
attempt("swapon", call, (167, 224), b"/no/such/file", 0)
attempt("quotactl", call, (179, 60), 0x800001 << 8, b"/no/such/file", 0, None)
attempt("acct", call, (163, 89), b"/no/such/file")
attempt("reboot", call, (169, 142), 0, 0, 0, None)
attempt("sethostname", call, (170, 161), b"hostile", 7)
attempt("personality", call, (135, 92), 0x40_0000)
