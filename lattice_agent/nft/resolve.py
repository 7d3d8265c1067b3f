"""The addresses of a host name by family: looked up once within a deadline, checked against what was asked for."""

import queue
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from lattice_agent.errors import NftError
from lattice_agent.nft.names import SetUpdate

LOOKUP_DEADLINE_S: Final = 10.0
MAX_ADDRESSES: Final = 4096  # no honest name has more; the update is refused rather than cut

Resolver = Callable[[str], Iterable[str]]
"""From a host name to its addresses as texts. Raises OSError if it has none or nobody answers."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Sorted by number, each once."""

    v4: tuple[IPv4Address, ...]
    v6: tuple[IPv6Address, ...]


def system_resolver(host: str) -> list[str]:
    """getaddrinfo(3): what every other program on this machine would connect to."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def resolve(
    update: SetUpdate, resolver: Resolver = system_resolver, *, within_s: float = LOOKUP_DEADLINE_S
) -> Addresses:
    """The addresses for an update. Raises NftError when the lookup fails or lacks the family that is needed."""
    texts = [update.host] if _is_ipv4(update.host) else _looked_up(update.host, resolver, within_s)
    if len(texts) > MAX_ADDRESSES:
        raise NftError(f"{update.host} has more than {MAX_ADDRESSES} addresses")
    addresses = sort(texts)
    _require(update, addresses)
    return addresses


def sort(texts: Iterable[str]) -> Addresses:
    """Splits by family, a v4-mapped IPv6 address counting as IPv4; drops scope ids and what is given twice.

    >>> sort(["::ffff:192.0.2.1", "192.0.2.1", "fe80::1%eth0"])
    Addresses(v4=(IPv4Address('192.0.2.1'),), v6=(IPv6Address('fe80::1'),))
    """
    v4: set[IPv4Address] = set()
    v6: set[IPv6Address] = set()
    for text in texts:
        address = ip_address(text.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if isinstance(address, IPv4Address):
            v4.add(address)
        else:
            v6.add(address)
    return Addresses(tuple(sorted(v4)), tuple(sorted(v6)))


def _require(update: SetUpdate, addresses: Addresses) -> None:
    if update.set4 and update.set6:
        if not addresses.v4 and not addresses.v6:
            raise NftError(f"no A or AAAA records resolved for {update.host}")
    elif update.set4 and not addresses.v4:
        raise NftError(f"no IPv4 A records resolved for {update.host}")
    elif update.set6 and not addresses.v6:
        raise NftError(f"no IPv6 AAAA records resolved for {update.host}")


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _looked_up(host: str, resolver: Resolver, within_s: float) -> list[str]:
    if _is_legacy_number(host):
        raise NftError(f"no A or AAAA records resolved for {host}")
    # getaddrinfo cannot be interrupted, so it runs in a thread that is left behind at the deadline; being a daemon
    # it does not keep the process, which is about to end.
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(list(resolver(host)))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=look_up, name="lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=within_s)
    except queue.Empty:
        raise NftError(f"no answer for {host} within {within_s:g} s", hint="check the resolver") from None
    if isinstance(answer, OSError):
        raise NftError(f"cannot resolve {host}: {answer.strerror or answer}") from None
    return answer


def _is_legacy_number(host: str) -> bool:
    """``127.1`` or ``0x7f000001``: getaddrinfo(3) takes them for addresses, the Go agent and DNS for names."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
