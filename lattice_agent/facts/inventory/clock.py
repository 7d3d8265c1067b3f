"""Time zone, and whether the kernel's clock is disciplined: ``/etc/localtime``, ``/etc/timezone``, adjtimex(2).

``TZ`` in the agent's environment says how the agent was started and nothing of the host, so it is not looked at.
"""

import functools
import re
import struct
import sys
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import is_live, link_target, read_text
from lattice_agent.wire.host_inventory import TEXT_BYTES, Clock

_LINK: Final = "etc/localtime"
_SHORT: Final = 4096  # bytes; /etc/timezone is one line
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_NO_ZONES: Final = frozenset({"localtime", "posixrules"})  # names beside the zones that mean "whatever is set up"
_VARIANTS: Final = ("posix/", "right/")  # the same zones without and with leap seconds

# struct timex up to its third member: modes, then offset, freq and maxerror (long each, maxerror in microseconds).
_TIMEX_HEAD: Final = struct.Struct("@I3l")
_TIMEX_ROOM: Final = 512  # bytes; the longest known struct timex has 208
_SYNCHRONISED_US: Final = 16_000_000
"""The kernel lets the error grow up to here while nobody disciplines the clock. timedatectl(1) judges by it, too; the
flag STA_UNSYNC says less, because chrony leaves it set unless it may also set the hardware clock (rtcsync)."""

Adjtimex = Callable[[bytearray], int]


def fingerprint(root: Path) -> Hashable:
    """Everything ``read`` finds: a readlink and a system call, and a short file where the link does not say it."""
    return read_time_zone(root), read_synchronised(root)


def read(root: Path) -> Clock:
    """Never raises: no source is the main one."""
    return Clock(time_zone=read_time_zone(root), synchronised=read_synchronised(root))


def read_time_zone(root: Path) -> str:
    """The zone's IANA name, or ""."""
    return parse_zone_link(link_target(root, _LINK)) or parse_zone_file(read_text(root, "etc/timezone", _SHORT))


def parse_zone_link(target: str) -> str:
    """The name out of what ``/etc/localtime`` links to: it is what follows ``zoneinfo/``, wherever that lies.

    >>> parse_zone_link("/usr/share/zoneinfo/Europe/Berlin"), parse_zone_link("../usr/share/zoneinfo/right/Etc/UTC")
    ('Europe/Berlin', 'Etc/UTC')
    """
    _, _, name = target.partition("zoneinfo/")
    for variant in _VARIANTS:
        name = name.removeprefix(variant)
    return _zone(name)


def parse_zone_file(text: str) -> str:
    """The first line of ``/etc/timezone`` that is neither blank nor a comment."""
    lines = (line.strip() for line in text.splitlines())
    return _zone(next((line for line in lines if line and not line.startswith("#")), ""))


def _zone(name: str) -> str:
    return clean_text(name, TEXT_BYTES) if _ZONE.fullmatch(name) and name not in _NO_ZONES else ""


def read_synchronised(root: Path) -> bool | None:
    """What adjtimex(2) says without changing anything (modes 0); ``None`` where it cannot be asked."""
    if not is_live(root) or sys.platform != "linux" or (adjtimex := _adjtimex()) is None:
        return None
    timex = bytearray(_TIMEX_ROOM)
    return parse_timex(adjtimex(timex), timex)


def parse_timex(state: int, timex: bytes | bytearray) -> bool | None:
    """Whether the clock is synchronised, from what adjtimex(2) returned and wrote; ``None`` when it failed (-1)."""
    if state < 0 or len(timex) < _TIMEX_HEAD.size:
        return None
    *_, max_error_us = _TIMEX_HEAD.unpack_from(timex)
    return bool(max_error_us < _SYNCHRONISED_US)


@functools.cache
def _adjtimex() -> Adjtimex | None:
    """The C library's function over a buffer; ``None`` where Python has no ctypes or the library no such function."""
    try:
        import ctypes

        function = ctypes.CDLL(None).adjtimex
    except (ImportError, OSError, AttributeError):
        return None
    room = ctypes.c_char * _TIMEX_ROOM
    return lambda timex: int(function(room.from_buffer(timex)))
