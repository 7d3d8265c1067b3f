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


def drive_the_console():
    fcntl.ioctl(os.open("/dev/tty0", os.O_RDWR | os.O_NOCTTY), TIOCLINUX, b"\x06" + bytes(15))  # pressed shift keys


attempt("type at standard input", type_at, 0)
attempt("type at /dev/tty", type_at_the_controlling_one)
attempt("drive the console", drive_the_console)
