"""Set the clock, the kernel's time zone, and how the clock is steered."""

import ctypes
import struct

from attempts import attempt, call

SETTIMEOFDAY, CLOCK_SETTIME, ADJTIMEX, CLOCK_ADJTIME = (164, 170), (227, 112), (159, 171), (305, 266)
REALTIME, ADJ_STATUS = 0, 0x10


def set_the_zone():
    call(SETTIMEOFDAY, None, bytes(8))  # to what it is already


def set_the_time():
    call(CLOCK_SETTIME, REALTIME, struct.pack("=qq", 0, -1))  # no time at all: EINVAL for who gets so far


def steer(*number_and_clock):
    """Set the status to what it is already."""
    state = ctypes.create_string_buffer(208)
    call(*number_and_clock, state)
    struct.pack_into("=I", state, 0, ADJ_STATUS)
    call(*number_and_clock, state)


attempt("settimeofday", set_the_zone)
attempt("clock_settime", set_the_time)
attempt("adjtimex", steer, ADJTIMEX)
attempt("clock_adjtime", steer, CLOCK_ADJTIME, REALTIME)
