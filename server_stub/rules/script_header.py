"""The sandbox level that a script asks for in a comment of its first ten lines, read as our agent reads it.

``# lattice: level=network``, in node ``// lattice: level=network``. What looks like a header and is not understood is
refused by the agent, so it is an error here, too.
"""

import re
from typing import Final

LEVELS: Final = ("strict", "network", "landlock", "host")
"""Strongest first."""
_LINES: Final = 10
_SHOWN: Final = 80


class HeaderError(ValueError):
    """Why the agent would refuse the script."""


def asked_level(script: str, interpreter: str) -> str:
    """The level, empty if the script asks for none. Raises HeaderError."""
    mark = re.escape("//" if interpreter == "node" else "#")
    header = re.compile(rf"\s*{mark}+\s*lattice:(.*)", re.IGNORECASE)
    asked = ""
    for number, line in enumerate(script.removeprefix("\ufeff").split("\n", _LINES)[:_LINES], 1):
        found = header.fullmatch(line)
        if found is None:
            continue
        words = found[1].split()
        if not words:
            raise HeaderError(f"script header (line {number}) is empty")
        for word in words:
            if asked:
                raise HeaderError(f"script header (line {number}): level is given twice")
            asked = _level(number, word)
    return asked


def _level(number: int, word: str) -> str:
    key, equals, value = word.partition("=")
    if key != "level" or not equals:
        raise HeaderError(f"script header (line {number}): {word[:_SHOWN]!r} is not understood")
    if value not in LEVELS:
        raise HeaderError(f"script header (line {number}): there is no level {value[:_SHOWN]!r}")
    return value
