"""The clock that leases are judged by: it counts through suspend and cannot be set.

CLOCK_BOOTTIME (clock_gettime(2)) restarts at 0 with each boot, so a reading is only comparable together with the
boot id (``/proc/sys/kernel/random/boot_id``).
"""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class BootTime:
    """A moment: seconds since the boot that ``boot_id`` names."""

    boot_id: str
    seconds: float

    def age_of(self, earlier: "BootTime") -> float | None:
        """Seconds since ``earlier``, or None when it belongs to another boot (then it is older than any limit)."""
        if self.boot_id != earlier.boot_id:
            return None
        return self.seconds - earlier.seconds


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Without a boot id every restart of the agent counts as a reboot: leases are given up rather than
        # started late, which is the safe side.
        return f"unknown-{time.time_ns()}"


def boot_time() -> BootTime:
    """Now."""
    return BootTime(_boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))
