"""The level that a script asks for itself, in a comment of its first lines. Pure.

::

    #!/bin/sh
    # lattice: level=network

A header is a line among the first ten that holds nothing but a comment beginning with ``lattice:`` (upper or lower
case); the comment is ``#`` for sh, bash and python3, ``//`` for node. After it come ``key=value`` words; the one key
is ``level``. What looks like a header and is not understood is an error: to overlook it would run the script at
another level than asked.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Final

from lattice_agent.exec.plan import Level

HEADER_LINES: Final = 10
_COMMENTS: Final = {"node": "//"}  # "#" for the other interpreters
_SHOWN: Final = 80
"""Characters of somebody's words in an error."""


class HeaderError(ValueError):
    """A header that cannot be followed; its text is the reason of the refusal."""


def asked_level(script: str, interpreter: str) -> Level | None:
    """The level that the script asks for, None if it does not. Raises HeaderError.

    >>> asked_level("#!/bin/sh\\n# lattice: level=network\\ncurl ...", "sh")
    <Level.NETWORK: 'network'>
    """
    asked = None
    for number, words in _headers(script, interpreter):
        for word in words:
            if asked is not None:
                raise HeaderError(f"script header (line {number}): level is given twice")
            asked = _level(number, word)
        if not words:
            raise HeaderError(f"script header (line {number}) is empty; it is written lattice: level=strict")
    return asked


def header_for(level: Level, interpreter: str) -> str:
    """The line that asks for this level."""
    return f"{_COMMENTS.get(interpreter, '#')} lattice: level={level}"


def _headers(script: str, interpreter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number from 1 and words of each header."""
    mark = re.escape(_COMMENTS.get(interpreter, "#"))
    header = re.compile(rf"\s*{mark}+\s*lattice:(.*)", re.IGNORECASE)
    first_lines = script.removeprefix("\ufeff").split("\n", HEADER_LINES)[:HEADER_LINES]
    for number, line in enumerate(first_lines, 1):
        if found := header.fullmatch(line):
            yield number, found[1].split()


def _level(number: int, word: str) -> Level:
    key, equals, value = word.partition("=")
    if key != "level" or not equals:
        raise HeaderError(f"script header (line {number}): {_shown(word)} is not understood; the one key is level=...")
    names = [level.value for level in reversed(Level)]
    if value not in names:
        near = difflib.get_close_matches(value, names, n=1, cutoff=0.0)[0]
        raise HeaderError(
            f"script header (line {number}): there is no level {_shown(value)}; the nearest is {near}, "
            f"all are {', '.join(names)}"
        )
    return Level(value)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
