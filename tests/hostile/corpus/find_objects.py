"""Look for what another script left: System V and POSIX ipc, files, abstract sockets."""

import os
import socket

from attempts import attempt, call

KEY = 0x7A11


def read(path):
    with open(path) as file:
        assert file.read() == "left"


def connect():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0lattice-test-left")


attempt("key", call, (250, 219), 10, -4, b"user", b"lattice-test-left", 0)
attempt("System V memory", call, (29, 194), KEY, 0, 0)
attempt("System V semaphores", call, (64, 190), KEY, 0, 0)
attempt("System V messages", call, (68, 186), KEY, 0)
attempt("message queue", call, (240, 180), b"lattice-test", os.O_RDONLY, 0, None)
attempt("shared memory file", read, "/dev/shm/lattice-test")
attempt("file", read, "/tmp/lattice-test-left")
attempt("abstract socket", connect)
