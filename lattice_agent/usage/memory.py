"""Carries counters from reading to reading of one core run (pure; protocol reference 5.5, trap 12).

Theory of operation. The server bills the difference to the last snapshot it accepted, takes an id that is missing
there for 0, and knows one sign of a restarted core: an uptime lower than the stored one. So a snapshot that lacks a
user bills that user's whole past when it is back, and an uptime that falls without a restart bills everybody's. A
core may leave users out (no traffic yet, a half-done reload, statistics off), and a source may lose its uptime; this
module keeps both from the server:

- an id that is absent keeps its last value, as long as the core runs;
- a reading without a single id is an error, not "no traffic": if sent, it would clear the server's baseline;
- an uptime that fell is a restart, and the new run starts with its own ids only;
- but an uptime that is one or two seconds lower, of a core that claims to be older than the last look at it, is a
  rounded or corrected clock: the earlier figure is kept;
- an uptime that was known and is not any more (0) is an error, unless every value is 0: then nothing can be billed.

What this cannot see is under-billed, never over-billed: a core that restarts and then reports nobody for longer than
it had run before. The memory lasts as long as the process; a durable ledger will take its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.normalise import IDS_LIMIT, Counters

CLOCK_SLACK_S: Final = 2
"""What rounding and a slewed clock can take off an uptime that a source computes itself."""


@dataclass(frozen=True, slots=True)
class UsageMemory:
    """The values to report now. ``core_uptime_s`` is 0 until it is known; ``read_at`` is monotonic seconds."""

    user_bytes: Mapping[str, int] = field(default_factory=dict)
    line_user_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    core_uptime_s: int = 0
    read_at: float = 0.0


def advance(memory: UsageMemory, counters: Counters, now: float) -> UsageMemory:
    """The memory after a reading at ``now`` (monotonic seconds).

    ``UsageSourceError`` if the reading must not be reported as OK; the memory then stays as it was.
    """
    if not counters.user_bytes:
        raise UsageSourceError(
            "the source lists no user that can be reported; nothing is reported until it does",
            hint="check that the proxy core counts traffic per user, and that its user ids are legal",
        )
    uptime_s = _next_uptime(memory, counters, now)
    earlier = UsageMemory() if uptime_s < memory.core_uptime_s else memory
    users = {**earlier.user_bytes, **counters.user_bytes}
    lines = _carry_lines(earlier.line_user_bytes, counters.line_user_bytes)
    _check_room(users, lines)
    return UsageMemory(users, lines, uptime_s, now)


def _next_uptime(memory: UsageMemory, counters: Counters, now: float) -> int:
    known, uptime_s = memory.core_uptime_s, counters.core_uptime_s
    if uptime_s >= known:
        return uptime_s
    if uptime_s == 0:
        _check_all_zero(counters)
    elif known - uptime_s <= CLOCK_SLACK_S and uptime_s > now - memory.read_at + CLOCK_SLACK_S:
        return known
    return uptime_s


def _check_all_zero(counters: Counters) -> None:
    if any(counters.user_bytes.values()):
        raise UsageSourceError(
            "the source knew the core's uptime and does not any more; values without it are not sent"
        )


def _carry_lines(
    earlier: Mapping[str, Mapping[str, int]], current: Mapping[str, Mapping[str, int]]
) -> dict[str, Mapping[str, int]]:
    return {line: {**earlier.get(line, {}), **current.get(line, {})} for line in {**earlier, **current}}


def _check_room(users: Mapping[str, int], lines: Mapping[str, Mapping[str, int]]) -> None:
    if max(len(users), len(lines), sum(map(len, lines.values()))) > IDS_LIMIT:
        raise UsageSourceError(
            f"more than {IDS_LIMIT} ids were seen in this run of the core; no report can hold them",
            hint="restart the proxy core, so that removed users are forgotten",
        )
