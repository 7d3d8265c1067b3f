"""Keeps the agent as small as what it holds; what it held once is given back.

Two habits of its runtime work against that, and a soak of minutes shows it (docs/soak.md):

- glibc raises the size from which a block is mapped alone (M_MMAP_THRESHOLD of mallopt(3)) to that of any such block
  that was freed. Outputs, reports and answers of up to some megabytes then lie in the heap among small objects that
  stay, and their holes stay as well: 12 MiB after some hundred tasks. A threshold that is set is not raised.
- The garbage collector looks at everything only when a quarter as much as there is has been added. With all of the
  program's code to be counted, closed connections wait for thousands of others; and each such look costs the event loop
  milliseconds. What is there once the program is loaded stays anyway: it is left out (``gc.freeze``).
"""

import ctypes
import gc
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
MAPPED_BYTES: Final = 32 * 1024
"""From this size on a block is mapped alone, and unmapped when it is freed. Half of what is read from a connection at
once; smaller ones are too many for a system call each."""


def settle() -> None:
    """To be called once everything is loaded, before work begins. Without glibc half of it is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    gc.collect()
    gc.freeze()
