"""Traffic of the host's own links: ``/proc/net/dev`` and ``/sys/class/net`` (protocol reference 4.2).

Theory of operation. A byte for a container crosses eth0, a bridge and a veth; a byte through a VPN crosses tun0 and
eth0. A sum over all interfaces counts it two or three times, so only those count that stand for a wire:

- one with a ``device`` link in sysfs (a PCI, USB or virtio device behind it), but
- a bond instead of its members, and a synthetic interface instead of the virtual function enslaved to it (Hyper-V),
  because the kernel counts the same bytes at both.

In a container with a network of its own nothing has a device behind it: the far end of a veth is all it sees. There,
and where sysfs is hidden, every interface counts whose name is not one that tunnels, bridges and container managers
use.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import COUNTER_LIMIT, parse_count
from lattice_agent.facts.rooted import exists, read_text

_NAME: Final = re.compile(r"[^/\s:]{1,15}")  # what the kernel allows, less the two names of directories
_RX_BYTES, _TX_BYTES, _FIELDS = 0, 8, 16
_VIRTUAL_PREFIXES: Final = (
    *("lo", "docker", "podman", "veth", "br-", "virbr", "vmbr", "lxcbr", "lxdbr", "cni", "kube", "flannel", "cali"),
    *("wg", "tailscale", "zt", "tun", "tap", "ppp", "gre", "sit", "ip6tnl", "ip_vti", "ip6_vti", "tunl", "erspan"),
    *("dummy", "ifb", "nlmon", "vxlan", "geneve", "macvlan", "macvtap", "bond", "team"),
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes an interface has received and sent since it came up."""

    rx: int = 0
    tx: int = 0


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
        rx, tx = parse_count(fields[_RX_BYTES]), parse_count(fields[_TX_BYTES])
        if rx is not None and tx is not None:
            counters[name] = Traffic(rx, tx)
    return counters


def counted_links(links: Iterable[Link]) -> frozenset[str]:
    """The names whose traffic is the host's own, by the rule at the top of this module."""
    known = tuple(links)
    with_device = {link.name for link in known if link.has_device}
    counted = {link.name for link in known if link.is_bond or _stands_alone(link, with_device)}
    return frozenset(counted or (link.name for link in known if not is_virtual_name(link.name)))


def _stands_alone(link: Link, with_device: set[str]) -> bool:
    return link.has_device and not link.is_bond_member and link.master not in with_device


def is_virtual_name(name: str) -> bool:
    """Whether tunnels, bridges or container managers use names like this one."""
    return name.lower().startswith(_VIRTUAL_PREFIXES)


def read_traffic(root: Path) -> dict[str, Traffic]:
    """Counters of the host's own links by name."""
    counters = parse_net_dev(read_text(root, "proc/net/dev"))
    counted = counted_links(read_link(root, name) for name in counters)
    return {name: traffic for name, traffic in counters.items() if name in counted}


def read_link(root: Path, name: str) -> Link:
    """What sysfs says of one interface; a plain ``Link`` where it says nothing."""
    place = f"sys/class/net/{name}"
    if not exists(root, f"{place}/device"):
        return Link(name, is_bond=exists(root, f"{place}/bonding"))
    return Link(
        name,
        has_device=True,
        is_bond_member=exists(root, f"{place}/bonding_slave"),
        master=_link_target_name(root / place / "master"),
    )


def _link_target_name(path: Path) -> str:
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return ""


def total(counters: Mapping[str, Traffic]) -> Traffic:
    """The sum over interfaces, held at the limit of one counter so that broken ones cannot leave the wire's range."""
    rx, tx = sum(one.rx for one in counters.values()), sum(one.tx for one in counters.values())
    return Traffic(min(rx, COUNTER_LIMIT), min(tx, COUNTER_LIMIT))
