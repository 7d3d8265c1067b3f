"""Keeps the control plane as small as what it holds.

A TLS connection has a buffer of 256 KiB, which costs its address space and the few pages that are used, as long as it
is mapped alone. glibc does that at first, and then keeps what is freed for the next one, in the heap among small
objects, and whole (mallopt(3): M_MMAP_THRESHOLD grows unless it is set). So does it with the 19 MiB of a password's
hash.

Closed event streams are cycles that the garbage collector has to find. It looks at everything only when a quarter as
much as there is has been added: more than a hundred such streams, each with its buffer. What is there once the program
is loaded stays anyway, and is left out (``gc.freeze``); then the collector looks soon, and has done soon.
"""

import ctypes
import gc
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
MAPPED_BYTES: Final = 128 * 1024
"""From this size on a block is mapped alone, and unmapped when it is freed: glibc's own value at the start."""


def settle() -> None:
    """To be called once everything is loaded, before anything is answered. Without glibc half of it is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    gc.collect()
    gc.freeze()
