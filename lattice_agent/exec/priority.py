"""How the spawner gets a turn in time while it watches the memory of cells.

A cell of many processes that all want a processor is what it must not have to queue with. Root becomes a process of the
real-time class at its lowest priority (sched(7)): it runs when it wakes, for a millisecond or so. A nice value would do
nothing, because it counts only among processes of the same session where sched_autogroup_enabled is set, and each cell
has its own. Where that is not allowed, and without root, it asks for short turns (Linux 6.12): with the same share of
the processor, it has them sooner.

Makers of cells, supervisors and scripts have none of it: SCHED_RESET_ON_FORK. It is done at the first look at a cell,
10 ms after its start, and undone when there is nothing to look at, so no start waits behind it.
"""

from __future__ import annotations

import os
import struct

from lattice_agent.exec.kernel import libc

LOWEST = 1
"""sched_priority: any other real-time process of the host goes first."""
SLICE_NS = 300_000
"""Of a turn: what a cheap look at twenty processes takes. The kernel takes 0.1 to 100 ms (kernel/sched/syscalls.c)."""
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
"""struct sched_attr (sched_setattr(2)): size, policy, flags, nice, priority, runtime, deadline, period."""
_FLAGS = 0x1 | 0x10
"""SCHED_FLAG_RESET_ON_FORK, and SCHED_FLAG_KEEP_PARAMS: the nice value stays what it is."""


class Attention:
    """Whether this process goes before others. Does nothing twice."""

    def __init__(self) -> None:
        self.raised = False

    def demand(self, *, wanted: bool) -> None:
        """Go before others, or no longer."""
        if wanted != self.raised:
            self.raised = wanted
            try:
                _real_time() if wanted else _ordinary()
            except OSError:
                return


def _real_time() -> None:
    if os.geteuid() == 0 and os.getpriority(os.PRIO_PROCESS, 0) == 0:  # children would lose another nice value
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(LOWEST))
        except PermissionError:  # no CAP_SYS_NICE, or RestrictRealtime= of systemd.exec(5)
            pass
        else:
            return
    _short_turns(SLICE_NS)


def _ordinary() -> None:
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _short_turns(ns: int) -> None:
    """Older kernels take it and do nothing."""
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, _FLAGS, 0, 0, ns, 0, 0)
    libc.call("sched_setattr", 0, attributes, 0)
