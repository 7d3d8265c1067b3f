"""The addresses on this machine's interfaces, through psutil (``getifaddrs`` needs no ``/proc``)."""

import socket

from lattice_agent.facts.addresses import AddressPair, InterfaceAddresses, internal_pair

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def read_internal_addresses() -> AddressPair:
    """``internal_ip`` and ``internal_ipv6`` (protocol reference 1.4); empty ones when they cannot be had."""
    return internal_pair(read_interfaces())


def read_interfaces() -> tuple[InterfaceAddresses, ...]:
    """Every interface with its state and its IP addresses; none when the kernel does not tell."""
    import psutil  # type: ignore[import-untyped]  # publishes no type information; imported late: 2 MiB

    try:
        addresses, states = psutil.net_if_addrs(), psutil.net_if_stats()
    except (psutil.Error, OSError):
        return ()
    return tuple(
        InterfaceAddresses(
            name,
            is_up=name in states and bool(states[name].isup),
            addresses=tuple(one.address for one in entries if one.family in _FAMILIES and one.address),
        )
        for name, entries in addresses.items()
    )
