"""Signal a process outside, by every call that does: by number, thread, group, queue, descriptor, and as its owner.

The victim has all signals blocked: from outside they are seen to wait.
"""

import fcntl
import os
import signal
import socket
import struct

from attempts import attempt, call

VICTIM = int(os.environ["VICTIM"])
TKILL, TGKILL, QUEUE, THREAD_QUEUE = (200, 130), (234, 131), (129, 138), (297, 240)
SIGINFO = struct.pack("=iii", signal.SIGURG, 0, -1).ljust(128, b"\0")  # SI_QUEUE
SETOWN_EX = 15


def by_descriptor():
    signal.pidfd_send_signal(os.pidfd_open(VICTIM), signal.SIGURG)


def by_descriptor_of_proc():
    signal.pidfd_send_signal(os.open(f"/proc/{VICTIM}", os.O_RDONLY | os.O_DIRECTORY), signal.SIGURG)


def as_owner(command, owner):
    """Input on a socket that belongs to the victim. Nobody is told whether the signal arrives."""
    ours, theirs = socket.socketpair()
    fcntl.fcntl(ours, command, owner)
    fcntl.fcntl(ours, fcntl.F_SETSIG, signal.SIGUSR1)
    fcntl.fcntl(ours, fcntl.F_SETFL, fcntl.fcntl(ours, fcntl.F_GETFL) | os.O_ASYNC)
    theirs.send(b"x")


attempt("kill", os.kill, VICTIM, signal.SIGURG)
attempt("kill of its group", os.killpg, VICTIM, signal.SIGURG)
attempt("tkill", call, TKILL, VICTIM, signal.SIGURG)
attempt("tgkill", call, TGKILL, VICTIM, VICTIM, signal.SIGURG)
attempt("rt_sigqueueinfo", call, QUEUE, VICTIM, signal.SIGURG, SIGINFO)
attempt("rt_tgsigqueueinfo", call, THREAD_QUEUE, VICTIM, VICTIM, signal.SIGURG, SIGINFO)
attempt("pidfd_send_signal", by_descriptor)
attempt("pidfd_send_signal, by /proc", by_descriptor_of_proc)
attempt("owner of a socket", as_owner, fcntl.F_SETOWN, VICTIM)
attempt("owner of a socket, extended", as_owner, SETOWN_EX, struct.pack("=ii", 1, VICTIM))
