"""IP addresses of interfaces with prefix length: of this machine by getifaddrs(3), of a recorded one from files."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.recorded_addresses import parse_if_inet6, parse_local_ipv4
from lattice_agent.facts.rooted import is_live, read_text
from lattice_agent.wire.host_inventory import MAX_ADDRESSES

AnyInterface = IPv4Interface | IPv6Interface
_LOOPBACK: Final = "lo"


def read_addresses(root: Path) -> dict[str, tuple[str, ...]]:
    """Texts such as ``192.0.2.7/24``, at most ``MAX_ADDRESSES`` of one interface; IPv4 first, in numeric order.

    Empty when the kernel does not say.
    """
    found = _ask_kernel() if is_live(root) else _read_recorded(root)
    return {name: listed(addresses) for name, addresses in found.items() if name != _LOOPBACK}


def listed(addresses: Iterable[AnyInterface]) -> tuple[str, ...]:
    """Each address once, in order, as many as one interface may have."""
    return tuple(map(str, sorted(set(addresses), key=_order)[:MAX_ADDRESSES]))


def _order(address: AnyInterface) -> tuple[int, int, int]:
    return address.version, int(address.ip), address.network.prefixlen


def with_prefix(address: str, netmask: str | None) -> AnyInterface | None:
    """The address without its zone (``%eth0``) and the ones its netmask starts with; ``None`` if it is no address.

    An address without a netmask, which is that of a far end, stands alone: /32 or /128.
    """
    try:
        ip = ip_address(address.partition("%")[0])
        mask = ip_address(netmask) if netmask else None
    except ValueError:
        return None
    prefix = ip.max_prefixlen if mask is None else leading_ones(mask)
    if isinstance(ip, IPv4Address):
        return IPv4Interface((int(ip), min(prefix, ip.max_prefixlen)))
    return IPv6Interface((int(ip), prefix))


def leading_ones(mask: IPv4Address | IPv6Address) -> int:
    """The prefix length a netmask stands for; what follows a gap in it does not count."""
    bits = f"{int(mask):0{mask.max_prefixlen}b}"
    return len(bits) - len(bits.lstrip("1"))


def _ask_kernel() -> dict[str, list[AnyInterface]]:
    import psutil  # type: ignore[import-untyped]  # publishes no type information; imported late: 2 MiB

    try:
        entries = psutil.net_if_addrs()
    except (psutil.Error, OSError):
        return {}
    rows = ((label, one.address, one.netmask) for label, group in entries.items() for one in group)
    return by_interface(rows)


def by_interface(rows: Iterable[tuple[str, str, str | None]]) -> dict[str, list[AnyInterface]]:
    """IP addresses by interface from rows of label, address and netmask; hardware addresses among them are left out.

    An address can have a label of its own, ``eth0:1``, which getifaddrs(3) gives instead of the interface's name.
    """
    found: dict[str, list[AnyInterface]] = {}
    for label, address, netmask in rows:
        if interface := with_prefix(address, netmask):
            found.setdefault(label.partition(":")[0], []).append(interface)
    return found


def _read_recorded(root: Path) -> dict[str, list[AnyInterface]]:
    found: dict[str, list[AnyInterface]] = {}
    every: list[tuple[str, AnyInterface]] = [
        *parse_local_ipv4(read_text(root, "proc/net/fib_trie"), read_text(root, "proc/net/route")),
        *parse_if_inet6(read_text(root, "proc/net/if_inet6")),
    ]
    for name, address in every:
        found.setdefault(name, []).append(address)
    return found
