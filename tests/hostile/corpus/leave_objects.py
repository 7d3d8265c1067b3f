"""Leave objects behind that live longer than a process: System V and POSIX ipc, files, abstract sockets."""

import ctypes
import os
import socket
import struct
import time

from attempts import attempt, call

KEY, SIZE, CREATE = 0x7A11, 4096, 0o1000 | 0o666


def left(path):
    with open(path, "w") as file:
        file.write("left")


def key():
    """In the user's keyring, which outlives every session; for a while, for the sake of who tries it outside."""
    made = call((248, 217), b"user", b"lattice-test-left", b"left", 4, -4)
    call((250, 219), 15, made, 8)


def queue():
    fd = call((240, 180), b"lattice-test", os.O_CREAT | os.O_RDWR, 0o666, struct.pack("=8q", 0, 1, 8, 0, 0, 0, 0, 0))
    call((242, 182), fd, ctypes.c_char_p(b"left"), 4, 0, None)


attempt("key", key)
attempt("System V memory", call, (29, 194), KEY, SIZE, CREATE)
attempt("System V semaphores", call, (64, 190), KEY, 1, CREATE)
attempt("System V messages", call, (68, 186), KEY, CREATE)
attempt("message queue", queue)
attempt("shared memory file", left, "/dev/shm/lattice-test")
attempt("file", left, "/tmp/lattice-test-left")
sock = socket.socket(socket.AF_UNIX)
attempt("abstract socket", sock.bind, "\0lattice-test-left")  # in a child, but it is the same socket
sock.listen()
time.sleep(float(os.environ["STAY_S"]))
