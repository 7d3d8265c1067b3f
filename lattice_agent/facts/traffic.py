"""Traffic of the host's own links: ``/proc/net/dev`` and ``/sys/class/net`` (protocol reference 4.2).

Theory of operation. A byte for a container crosses eth0, a bridge and a veth; a byte through a VPN crosses tun0 and
eth0. A sum over all interfaces counts it two or three times, so only those count that stand for a wire:

- one with a ``device`` link in sysfs (a PCI, USB or virtio device behind it), but
- a bond instead of its members, and a synthetic interface instead of the virtual function enslaved to it (Hyper-V),
  because the kernel counts the same bytes at both.

In a container with a network of its own nothing has a device behind it: the far end of a veth is all it sees. There,
and where sysfs is hidden, every interface counts whose name is not one that tunnels, bridges and container managers
use.

The owner of the node may say it instead (``Selection``); then the rule is not asked.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import basename
from typing import Final

from lattice_agent.facts.lexical import COUNTER_LIMIT, parse_count
from lattice_agent.facts.rooted import exists, link_target

_NAME: Final = re.compile(r"[^/\s:]{1,15}")  # what the kernel allows, less the two names of directories
_FIELDS: Final = 16
_VIRTUAL_PREFIXES: Final = (
    *("lo", "docker", "podman", "veth", "br-", "virbr", "vmbr", "lxcbr", "lxdbr", "cni", "kube", "flannel", "cali"),
    *("wg", "tailscale", "zt", "tun", "tap", "ppp", "gre", "sit", "ip6tnl", "ip_vti", "ip6_vti", "tunl", "erspan"),
    *("dummy", "ifb", "nlmon", "vxlan", "geneve", "macvlan", "macvtap", "bond", "team"),
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes an interface has received and sent since it came up, and what else is counted of them."""

    rx: int = 0
    tx: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which interfaces the node's owner wants counted, by names or patterns as of a shell (``eth*``).

    With ``include`` exactly those count, without it the automatic rule holds; ``exclude`` always wins.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def excludes(self, name: str) -> bool:
        """Whether the owner wants it left out."""
        return _matches(name, self.exclude)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


AUTOMATIC: Final = Selection()


@dataclass(frozen=True, slots=True)
class Link:
    """What sysfs says of an interface. ``master`` names the one it is enslaved to, or is ""."""

    name: str
    has_device: bool = False
    is_bond: bool = False
    is_bond_member: bool = False
    master: str = ""


def parse_net_dev(text: str) -> dict[str, Traffic]:
    """Counters by interface out of ``/proc/net/dev``; lines that are not complete are left out."""
    counters = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        name = name.strip()
        if len(fields) < _FIELDS or not _NAME.fullmatch(name) or name in (".", ".."):
            continue
        traffic = _traffic(fields)
        if traffic is not None:
            counters[name] = traffic
    return counters


def _traffic(fields: list[str]) -> Traffic | None:
    """Columns: bytes packets errs drop fifo frame compressed multicast, of the receiver and then of the sender."""
    rx, tx = parse_count(fields[0]), parse_count(fields[8])
    if rx is None or tx is None:
        return None
    lesser = (parse_count(fields[column]) or 0 for column in (1, 9, 2, 10, 3, 11))
    return Traffic(rx, tx, *lesser)


def counted_links(links: Iterable[Link], selection: Selection = AUTOMATIC) -> frozenset[str]:
    """The names whose traffic counts: what the owner selected, or the host's own by the rule of this module."""
    known = tuple(links)
    if selection.include:
        chosen = {link.name for link in known if _matches(link.name, selection.include)}
    else:
        chosen = _own_links(known)
    return frozenset(name for name in chosen if not selection.excludes(name))


def _own_links(links: tuple[Link, ...]) -> set[str]:
    with_device = {link.name for link in links if link.has_device}
    own = {link.name for link in links if link.is_bond or _stands_alone(link, with_device)}
    return own or {link.name for link in links if not is_virtual_name(link.name)}


def _stands_alone(link: Link, with_device: set[str]) -> bool:
    return link.has_device and not link.is_bond_member and link.master not in with_device


def is_virtual_name(name: str) -> bool:
    """Whether tunnels, bridges or container managers use names like this one."""
    return name.lower().startswith(_VIRTUAL_PREFIXES)


def counted_traffic(root: Path, net_dev: str, selection: Selection = AUTOMATIC) -> dict[str, Traffic]:
    """Counters by name of the interfaces that count, out of the text of ``/proc/net/dev``."""
    counters = parse_net_dev(net_dev)
    counted = counted_links((read_link(root, name) for name in counters), selection)
    return {name: traffic for name, traffic in counters.items() if name in counted}


def read_link(root: Path, name: str) -> Link:
    """What sysfs says of the interface; all false where there is none."""
    place = f"sys/class/net/{name}"
    if not exists(root, f"{place}/device"):
        return Link(name, is_bond=exists(root, f"{place}/bonding"))
    return Link(
        name,
        has_device=True,
        is_bond_member=exists(root, f"{place}/bonding_slave"),
        master=basename(link_target(root, f"{place}/master")),
    )


def total(counters: Mapping[str, Traffic]) -> Traffic:
    """The sum over interfaces, held at the limit of one counter so that broken ones cannot leave the wire's range."""
    rx, tx = sum(one.rx for one in counters.values()), sum(one.tx for one in counters.values())
    return Traffic(min(rx, COUNTER_LIMIT), min(tx, COUNTER_LIMIT))
