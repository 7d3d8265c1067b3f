"""Memory and swap by use: ``/proc/meminfo`` and the swap counters of ``/proc/vmstat`` (proc(5))."""

from collections.abc import Mapping

from lattice_agent.facts.detail.counters import SwapCounts, rate
from lattice_agent.facts.lexical import COUNTER_LIMIT, parse_count
from lattice_agent.facts.rates import FASTEST_LINK
from lattice_agent.wire.metrics_detail import MemoryUse


def parse_swap_counts(vmstat: str, page_bytes: int) -> SwapCounts | None:
    """``pswpin`` and ``pswpout`` in bytes; ``None`` when one is missing (a kernel without swap)."""
    read, written = _count_of(vmstat, "pswpin"), _count_of(vmstat, "pswpout")
    if read is None or written is None:
        return None
    return SwapCounts(min(read * page_bytes, COUNTER_LIMIT), min(written * page_bytes, COUNTER_LIMIT))


def _count_of(vmstat: str, name: str) -> int | None:
    start = vmstat.find(f"\n{name} ")  # never the first line, nr_free_pages
    if start < 0:
        return None
    return parse_count(vmstat[start + len(name) + 2 :].partition("\n")[0])


def memory_use(
    sizes: Mapping[str, int], before: SwapCounts | None, after: SwapCounts | None, elapsed_s: float | None
) -> MemoryUse | None:
    """The group out of ``memory.parse_sizes``; ``None`` when that is empty. No rates without ``elapsed_s``."""
    if not sizes:
        return None
    swap_total, swap_free = sizes.get("SwapTotal"), sizes.get("SwapFree")
    came, went = _swap_rates(before, after, elapsed_s)
    return MemoryUse(
        free_bytes=sizes.get("MemFree"),
        available_bytes=sizes.get("MemAvailable"),
        buffers_bytes=sizes.get("Buffers"),
        cached_bytes=sizes.get("Cached"),
        shared_bytes=sizes.get("Shmem"),
        reclaimable_bytes=sizes.get("SReclaimable"),
        dirty_bytes=sizes.get("Dirty"),
        swap_used_bytes=None if swap_total is None or swap_free is None else max(0, swap_total - swap_free),
        swap_in_rate=came,
        swap_out_rate=went,
    )


def _swap_rates(
    before: SwapCounts | None, after: SwapCounts | None, elapsed_s: float | None
) -> tuple[float | None, float | None]:
    if before is None or after is None:
        return None, None
    came = rate(before.read, after.read, elapsed_s, FASTEST_LINK)
    return came, rate(before.written, after.written, elapsed_s, FASTEST_LINK)
