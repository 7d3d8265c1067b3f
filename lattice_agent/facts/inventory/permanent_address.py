"""The address burnt into a network card, which bonds, administrators and privacy settings do not change."""

import re
import socket
import struct
from array import array
from pathlib import Path
from typing import Final

from lattice_agent.facts.rooted import exists, is_live, read_text

_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GPERMADDR: Final = 0x20
_ADDRESS_ROOM: Final = 32  # MAX_ADDR_LEN of the kernel
_NAME_LIMIT: Final = 15  # IFNAMSIZ less the zero byte
_GIVEN_BY_HARDWARE: Final = "0"  # NET_ADDR_PERM of addr_assign_type
_MAC: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?::[0-9a-f]{2}){19}")


def parse_mac(text: str) -> str:
    """An address of 6 octets (Ethernet, Wi-Fi) or 20 (InfiniBand) in lower case, or "".

    Tunnels write their IP address there (4 or 16 octets), or zeros.

    >>> parse_mac("02:FC:00:00:00:01\\n"), parse_mac("c0:00:02:07"), parse_mac("00:00:00:00:00:00")
    ('02:fc:00:00:00:01', '', '')
    """
    address = text.strip().lower()
    return address if _MAC.fullmatch(address) and address.strip("0:") else ""


def read_permanent_mac(root: Path, name: str) -> str:
    """What the bond remembers; the present address if the hardware gave it; what the driver says; or "".

    A virtual interface has none, even if the kernel says so: VLANs take over the address of the card below them.
    """
    place = f"sys/class/net/{name}"
    if kept := parse_mac(read_text(root, f"{place}/bonding_slave/perm_hwaddr")):
        return kept
    if not exists(root, f"{place}/device"):
        return ""
    if read_text(root, f"{place}/addr_assign_type").strip() == _GIVEN_BY_HARDWARE:
        return parse_mac(read_text(root, f"{place}/address"))
    return ask_driver(name) if is_live(root) else ""


def ask_driver(name: str) -> str:
    """SIOCETHTOOL with ETHTOOL_GPERMADDR, which needs no privilege; "" when the driver does not know.

    ``struct ifreq``: char name[16], then the pointer to ``struct ethtool_perm_addr``: u32 command, u32 room (on return
    the length), and the address.
    """
    raw = name.encode("utf-8", "replace")
    if len(raw) > _NAME_LIMIT:
        return ""
    answer = array("B", struct.pack(f"=II{_ADDRESS_ROOM}x", _ETHTOOL_GPERMADDR, _ADDRESS_ROOM))
    request = struct.pack("16sP16x", raw, answer.buffer_info()[0])
    try:
        import fcntl  # here, because other systems have none

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    except (ImportError, AttributeError, OSError):
        return ""
    return parse_answer(answer.tobytes())


def parse_answer(answer: bytes) -> str:
    """The address in a filled ``struct ethtool_perm_addr``."""
    if len(answer) < 8:
        return ""
    length = int(struct.unpack_from("=II", answer)[1])
    return parse_mac(answer[8 : 8 + length].hex(":")) if length <= _ADDRESS_ROOM else ""
