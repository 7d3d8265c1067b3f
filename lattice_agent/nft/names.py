"""What may be asked of the set updater: host, family, table and set names, checked before anything is looked up.

Pure. The rules and the reasons are the Go agent's (protocol reference, section 6). Names that pass hold letters,
digits and ``_`` only, so nothing in them can be read by nft as anything but a name.
"""

import re
from dataclasses import dataclass
from typing import Final

from lattice_agent.errors import NftError

FAMILIES: Final = ("inet", "ip", "ip6")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_HOST: Final = 253


@dataclass(frozen=True, slots=True)
class SetUpdate:
    """A checked request: the addresses of ``host`` go into these sets of ``table``."""

    host: str
    """Lower case, without a trailing dot."""
    family: str
    table: str
    set4: str | None
    set6: str | None


def checked_update(*, host: str, family: str, table: str, set4: str, set6: str) -> SetUpdate:
    """The request, normalised. An empty set name means none. Raises NftError with the reason."""
    name = _host(host)
    if family not in FAMILIES:
        raise NftError(f"unsupported nft family {_quoted(family)}")
    if not set4 and not set6:
        raise NftError("at least one nft set is required")
    if set6 and family == "ip":
        raise NftError("IPv6 set requires nft family inet or ip6")
    if set4 and family == "ip6":
        raise NftError("IPv4 set requires nft family inet or ip")
    if not _IDENTIFIER.fullmatch(table):
        raise NftError(f"invalid nft table {_quoted(table)}")
    for set_name in filter(None, (set4, set6)):
        if not _IDENTIFIER.fullmatch(set_name):
            raise NftError(f"invalid nft set {_quoted(set_name)}")
    return SetUpdate(name, family, table, set4 or None, set6 or None)


def _host(given: str) -> str:
    name = given.strip().removesuffix(".")
    # ASCII before lower(): some other letters (the Kelvin sign) become ASCII ones by it.
    if name.isascii() and 0 < len(name) <= _MAX_HOST:
        name = name.lower()
        if all(_LABEL.fullmatch(label) for label in name.split(".")):
            return name
    raise NftError(f"invalid hostname {_quoted(given)}")


def _quoted(text: str) -> str:
    """In double quotes, on one line, and short whatever was given."""
    shown = text if len(text) <= 300 else text[:300] + "..."
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in shown) + '"'
