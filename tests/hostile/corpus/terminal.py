"""Type for the user at the terminal, and drive the console."""

import fcntl
import os
import termios

from attempts import attempt

TIOCLINUX = 0x541C


def type_at(fd):
    fcntl.ioctl(fd, termios.TIOCSTI, b"#")


def type_at_the_controlling_one():
    type_at(os.open("/dev/tty", os.O_RDWR))


def drive_the_console(fd):
    fcntl.ioctl(fd, TIOCLINUX, b"\x06" + bytes(15))  # which shift keys are pressed


for fd in (0, 1, 2):
    attempt(f"type at {fd}", type_at, fd)
attempt("type at /dev/tty", type_at_the_controlling_one)
attempt("open /dev/tty", lambda: os.close(os.open("/dev/tty", os.O_RDWR)))
attempt("drive the console", drive_the_console, 0)
