"""Network interfaces: ``/sys/class/net``, or at least their names from ``/proc/net/dev`` where sysfs is hidden."""

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.interface_addresses import read_addresses
from lattice_agent.facts.inventory.link_dump import dump_links_and_addresses
from lattice_agent.facts.inventory.permanent_address import parse_mac, read_permanent_mac
from lattice_agent.facts.lexical import clean_text, parse_count
from lattice_agent.facts.rooted import is_live, link_target, names_in, read_text, required_text
from lattice_agent.facts.traffic import AUTOMATIC, Selection, counted_links, parse_net_dev, read_link
from lattice_agent.wire.host_inventory import MAX_INTERFACES, TEXT_BYTES, Interface

_PLACE: Final = "sys/class/net"
_COUNTERS: Final = "proc/net/dev"
_LOOPBACK: Final = "lo"
_MTU_LIMIT: Final = 2**31 - 1
_SPEED_LIMIT: Final = 2**31 - 1  # SPEED_UNKNOWN, -1, is written as 4294967295 by kernels that take it for unsigned
_NO_SPEEDS: Final = frozenset({0, 65535})  # of drivers without a link, and of those whose -1 has 16 bits
_WATCHED: Final = ("operstate", "address", "mtu")
_ADDRESSES: Final = ("proc/net/if_inet6", "proc/net/fib_trie", "proc/net/route")


def fingerprint(root: Path) -> Hashable:
    """Links and addresses as the kernel lists them; where it cannot be asked, what a few files say."""
    if is_live(root):
        try:
            return dump_links_and_addresses()
        except OSError:
            pass  # a sandbox without netlink, in which getifaddrs(3) finds nothing either
    watched = (f"{_PLACE}/{name}/{file}" for name in names_in(root, _PLACE) for file in _WATCHED)
    return tuple((path, read_text(root, path)) for path in (*watched, *_ADDRESSES))


def read(root: Path, selection: Selection = AUTOMATIC) -> tuple[Interface, ...]:
    """The interfaces by name; of more than ``MAX_INTERFACES`` those that ``selection`` counts are kept first.

    FactsError when neither ``/sys/class/net`` nor ``/proc/net/dev`` can be read.
    """
    names = read_names(root)
    own = counted_links((read_link(root, name) for name in names), selection)
    addresses = read_addresses(root)
    kept = sorted(names, key=lambda name: (name not in own, name))[:MAX_INTERFACES]
    return tuple(_read_interface(root, name, name in own, addresses.get(name, ())) for name in sorted(kept))


def read_names(root: Path) -> list[str]:
    """Names of all interfaces but lo; FactsError when no source lists them.

    A sysfs shows the network namespace that it was mounted in, which need not be ours; ``/proc/net`` is always ours. So
    of this machine the names in ``/proc/net/dev`` are the right ones, if it can be read.
    """
    shown = [name for name in names_in(root, _PLACE) if _is_interface(root, name)]
    if not shown:  # not even lo: sysfs is hidden
        shown = [*parse_net_dev(required_text(root, _COUNTERS))]
    elif is_live(root):
        shown = [*parse_net_dev(read_text(root, _COUNTERS))] or shown
    return sorted(name for name in shown if name != _LOOPBACK and name.isprintable())


def _is_interface(root: Path, name: str) -> bool:
    """An interface is a directory, or a link to one within sysfs; bonding_masters is a file."""
    path = f"{_PLACE}/{name}"
    target = link_target(root, path)
    return not target.startswith("/") if target else os.path.isdir(root / path)


def _read_interface(root: Path, name: str, physical: bool, addresses: tuple[str, ...]) -> Interface:
    place = f"{_PLACE}/{name}"
    return Interface(
        name=clean_text(name, TEXT_BYTES),
        physical=physical,
        state=clean_text(read_text(root, f"{place}/operstate"), TEXT_BYTES),
        mac=parse_mac(read_text(root, f"{place}/address")),
        permanent_mac=read_permanent_mac(root, name),
        mtu=parse_count(read_text(root, f"{place}/mtu").strip(), _MTU_LIMIT),
        speed_mbps=parse_speed(read_text(root, f"{place}/speed")),
        driver=_link_name(root, f"{place}/device/driver"),
        master=_link_name(root, f"{place}/master"),
        addresses=addresses,
    )


def parse_speed(text: str) -> int | None:
    """Mbit/s, or ``None`` for the ways in which drivers say that there is no link, or none with a speed.

    >>> parse_speed("10000\\n"), parse_speed("-1"), parse_speed("4294967295")
    (10000, None, None)
    """
    speed = parse_count(text.strip(), _SPEED_LIMIT)
    return None if speed in _NO_SPEEDS else speed


def _link_name(root: Path, path: str) -> str:
    return clean_text(os.path.basename(link_target(root, path)), TEXT_BYTES)
