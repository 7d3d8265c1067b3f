"""What udev has found out about block devices: its database ``/run/udev/data/b<major>:<minor>``.

A line is a kind and a value, ``E:`` being a property: ``E:ID_FS_UUID=0a1b…``. The format is udev's own, but lsblk(8)
and others have read it for long enough that it is not going to change.
"""

import re
from pathlib import Path
from typing import Final

from lattice_agent.facts.rooted import read_text

FOLDER: Final = "run/udev/data"
_NUMBER: Final = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_ESCAPE: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")


def parse_properties(text: str) -> dict[str, str]:
    """The properties of one device; of one that is given twice the last."""
    properties = {}
    for line in text.split("\n"):
        name, equals, value = line.removeprefix("E:").partition("=")
        if equals and line.startswith("E:"):
            properties[name] = value
    return properties


def unescape(value: str) -> str:
    r"""The text of an ``…_ENC`` property, where udev writes the bytes it finds unsafe as ``\x20``.

    >>> unescape(r"ACME\x20Disk\x20\x20")
    'ACME Disk  '
    """
    raw = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), value.encode("utf-8", "replace"))
    return raw.decode("utf-8", "replace")


def read_properties(root: Path, number: str) -> dict[str, str]:
    """Properties of the block device ``number`` (``8:0``); none without udev, or when that is no number."""
    if not _NUMBER.fullmatch(number):
        return {}
    return parse_properties(read_text(root, f"{FOLDER}/b{number}"))
