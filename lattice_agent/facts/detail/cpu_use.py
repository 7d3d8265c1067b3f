"""Use of each CPU and by what: the lines of ``/proc/stat`` (proc_stat(5))."""

from collections.abc import Mapping

from lattice_agent.facts.cpu import CORES_LIMIT, CpuTimes, busy_percent, parse_cpu_times
from lattice_agent.facts.detail.counters import Counters
from lattice_agent.wire.metrics_detail import CpuUse

_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)


def parse_core_times(stat: str) -> dict[int, CpuTimes]:
    """Times by CPU number of the CPUs that are online; broken lines are left out."""
    found: dict[int, CpuTimes] = {}
    for line in stat.splitlines():
        if not line.startswith("cpu"):
            break  # the lines of CPUs come first
        number = line[3 : line.find(" ")]
        times = parse_cpu_times("cpu" + line[3 + len(number) :]) if number.isdecimal() and len(number) <= 4 else None
        if times is not None and len(found) < CORES_LIMIT:
            found[int(number)] = times
    return found


def cpu_use(before: Counters, after: Counters) -> CpuUse | None:
    """Shares between two readings. A CPU that came in between counts as idle; ``None`` when nothing is known."""
    shares = _shares(before.cpu, after.cpu) if before.cpu and after.cpu else None
    cores = tuple(_busy(before.cores, number, times) for number, times in sorted(after.cores.items()))
    if shares is None:
        return CpuUse(cores=cores) if cores else None
    return CpuUse(
        cores=cores,
        user=_percent(shares[_USER] + shares[_NICE]),
        system=_percent(shares[_SYSTEM] + shares[_IRQ] + shares[_SOFTIRQ]),
        iowait=_percent(shares[_IOWAIT]),
        steal=_percent(shares[_STEAL]),
    )


def _busy(before: Mapping[int, CpuTimes], number: int, now: CpuTimes) -> float:
    then = before.get(number)
    return _percent((busy_percent(then, now) if then else None) or 0.0)


def _shares(before: CpuTimes, after: CpuTimes) -> tuple[float, ...] | None:
    spent = [max(0.0, late - early) for early, late in zip(before.columns, after.columns, strict=True)]
    total = sum(spent)
    return tuple(100 * part / total for part in spent) if total > 0 else None


def _percent(value: float) -> float:
    return min(100.0, round(value, 2))
