"""The statistics of an xray, v2ray or sing-box core, and what they say about its users (pure; reference 5.2)."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from lattice_agent.errors import UsageSourceError

USERS: Final = "user>>>"
"""The part of a name that asks for the counters of users."""

TRAFFIC: Final = ">>>traffic>>>"
"""The part of a name that asks for every traffic counter: of users, inbounds and outbounds."""

_DIRECTIONS: Final = ("uplink", "downlink")
_SHOWN: Final = 64


class Stat(NamedTuple):
    """A statistic as the core names it; ``value`` is at most 2**63 - 1 and not negative."""

    name: str
    value: int


def user_sums(stats: Iterable[Stat]) -> dict[str, int]:
    """Bytes up and down of each id, from names of the form ``user>>>id>>>traffic>>>uplink|downlink``.

    Other names are no users. A name that comes twice is an error: which of the two is the counter, nobody knows.
    """
    sums: dict[str, int] = {}
    seen: set[str] = set()
    for index, (name, value) in enumerate(stats):
        if name in seen:
            raise UsageSourceError(f"stat[{index}]: the statistic {name[:_SHOWN]!r} is listed twice")
        seen.add(name)
        match name.split(">>>"):
            case ["user", user, "traffic", direction] if direction in _DIRECTIONS:
                sums[user] = sums.get(user, 0) + value
    return sums
