"""When the host was booted and how long ago: ``/proc/stat`` and ``/proc/uptime`` (protocol reference 4.1, 4.2).

``now - uptime`` moves by a second from report to report, and the server takes a moved boot time for a reboot once it
is two minutes off. The ``btime`` line of ``/proc/stat`` is the kernel's own figure: it moves only when somebody sets
the clock. It comes first, and the difference is for hosts that have no such line.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from lattice_agent.facts.lexical import parse_count, parse_decimal

_EPOCH_LIMIT: Final = 253_402_300_799  # the last second of year 9999, as far as a datetime goes


def parse_uptime(uptime: str) -> int:
    """Whole seconds since boot out of ``/proc/uptime``; 0 when broken."""
    return int(parse_decimal((uptime.split() or [""])[0]) or 0)


def parse_boot_time(stat: str) -> datetime | None:
    """The ``btime`` line of ``/proc/stat`` as an aware time, to the second."""
    for line in stat.splitlines():
        if line.startswith("btime "):
            return boot_time_at(parse_count(line[6:].strip()) or 0)
    return None


def boot_time_at(epoch_s: float) -> datetime | None:
    """Seconds since 1970 as a time to the second; ``None`` for what is no time a host was booted at."""
    return datetime.fromtimestamp(int(epoch_s), UTC) if 0 < epoch_s <= _EPOCH_LIMIT else None


def boot_time_before(now: datetime, uptime_s: int) -> datetime | None:
    """The fallback: ``now`` less the uptime, to the second; ``None`` when the uptime is not known."""
    try:
        return (now - timedelta(seconds=uptime_s)).replace(microsecond=0) if uptime_s else None
    except OverflowError:
        return None
