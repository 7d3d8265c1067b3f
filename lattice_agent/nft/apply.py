"""Replacing the content of nftables sets in one transaction.

``nft -f -`` applies its whole input or nothing of it, so a set is never seen empty or half filled, and a failure
with the second set leaves the first as it was. nft's input is a language that resolves names and takes ``;``, so
what goes into it is only ever rendered from checked names and ``ipaddress`` values.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from lattice_agent.errors import NftError
from lattice_agent.nft.names import SetUpdate
from lattice_agent.nft.resolve import Addresses

NFT_DEADLINE_S: Final = 30.0  # replacing 50,000 elements takes half a second
_MAX_COMPLAINT: Final = 2048  # bytes of nft's stderr that are read
_SBIN: Final = "/usr/sbin:/sbin"  # after PATH: a task's or a user's PATH may lack them


def transaction(update: SetUpdate, addresses: Addresses, *, allow_empty: bool) -> str:
    """nft's input. A family without an address leaves its set as it is, or with ``allow_empty`` empties it.

    At least one family has an address (``resolve`` saw to it), so the text is never empty.
    """
    lines: list[str] = []
    for set_name, members in _members(update, addresses):
        target = f"{update.family} {update.table} {set_name}"
        if members or allow_empty:
            lines.append(f"flush set {target}")
        if members:
            lines.append(f"add element {target} {{ {', '.join(map(str, members))} }}")
    return "\n".join(lines) + "\n"


def summary(update: SetUpdate, addresses: Addresses, *, allow_empty: bool) -> str:
    """What the transaction did, for the log.

    >>> u = SetUpdate("a.example", "inet", "t", "four", "six")
    >>> summary(u, Addresses((IPv4Address("192.0.2.1"),), ()), allow_empty=False)
    'inet t: four has 1 address, six left as it is'
    """
    done = []
    for set_name, members in _members(update, addresses):
        count = f"has {len(members)} address{'es' * (len(members) != 1)}"
        done.append(f"{set_name} {count if members else 'emptied' if allow_empty else 'left as it is'}")
    return f"{update.family} {update.table}: {', '.join(done)}"


def _members(update: SetUpdate, addresses: Addresses) -> list[tuple[str, Sequence[IPv4Address | IPv6Address]]]:
    members: list[tuple[str, Sequence[IPv4Address | IPv6Address]]] = []
    if update.set4:
        members.append((update.set4, addresses.v4))
    if update.set6:
        members.append((update.set6, addresses.v6))
    return members


def apply(update: SetUpdate, addresses: Addresses, *, allow_empty: bool, path: str | None = None) -> None:
    """Runs nft once. ``path`` is where it is searched, the environment's PATH unless given.

    Raises NftError naming table and sets. Nothing was changed then, unless it was the deadline that ended nft: whether
    the kernel had the transaction by that time is not known.
    """
    search = os.environ.get("PATH", os.defpath) if path is None else path
    program = shutil.which("nft", path=f"{search}:{_SBIN}")
    if program is None:
        raise NftError("nft was not found on PATH", hint="install nftables")
    _run([program, "-f", "-"], transaction(update, addresses, allow_empty=allow_empty), _target(update), search)


def _target(update: SetUpdate) -> str:
    return f"{update.family} {update.table} {' and '.join(filter(None, (update.set4, update.set6)))}"


def _run(argv: list[str], text: str, target: str, search: str) -> None:
    """``search`` is nft's PATH. Its stderr goes to a file of which the beginning is read: it cannot fill memory."""
    with tempfile.TemporaryFile() as complaint:
        try:
            done = subprocess.run(
                argv,
                input=text.encode("ascii"),
                stdout=subprocess.DEVNULL,
                stderr=complaint,
                env={"PATH": search, "LC_ALL": "C"},
                timeout=NFT_DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NftError(f"nft did not finish with {target} within {NFT_DEADLINE_S:g} s") from None
        except OSError as error:
            raise NftError(f"cannot run {argv[0]}: {error.strerror}") from None
        if done.returncode != 0:
            complaint.seek(0)
            reason = _first_lines(complaint.read(_MAX_COMPLAINT).decode("utf-8", "replace"))
            raise NftError(f"nft refused {target} (status {done.returncode}): {reason}")


def _first_lines(complaint: str) -> str:
    """nft's message and the command it is about, without the line of ``^^^^``, on one line."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip(" ^~")]
    shown = "; ".join(lines[:2])
    return "".join(c if c.isprintable() else " " for c in shown)[:300] or "no message"
