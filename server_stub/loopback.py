"""Whether a name is this machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine for certain: ``localhost``, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
