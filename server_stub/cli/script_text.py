r"""A script's output for a terminal, piece by piece as it comes.

It is made harmless as everywhere (``text.visible``), with one exception where colours are wanted: a complete
"select graphic rendition" sequence (``ESC [ digits ; : m``), which changes how characters look and nothing else; but
for one that conceals text or makes it blink: a script must not hide what it prints. One that a piece cuts is held back
until the next piece decides; what is held is never longer than ``_LONGEST_SGR``.
"""

import re
from collections.abc import Mapping
from typing import Final

from server_stub.cli.text import visible

COLOUR_CHOICES: Final = ("auto", "always", "never")
RESET: Final = "\x1b[0m"

_LONGEST_SGR: Final = 64  # characters; the longest that mean something have about 40, and what is longer is escaped
_SGR: Final = re.compile(rf"(\x1b\[[0-9;:]{{0,{_LONGEST_SGR - 3}}}m)")
_SGR_BEGUN: Final = re.compile(rf"\x1b(?:\[[0-9;:]{{0,{_LONGEST_SGR - 3}}})?")
_HIDING: Final = frozenset({5, 6, 8})  # blinking, slowly and fast; concealed
_COLOURS: Final = frozenset({38, 48, 58})
_FIELDS_OF_COLOUR: Final = {"5": 3, "2": 5}
_KEPT: Final = "\n\t"


def passes_colours(choice: str, *, is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """Whether a stream gets colours: ``auto`` is a terminal that can, unless NO_COLOR (no-color.org) is set.

    ``always`` is for a pager that understands colours and holds for a pipe, too.
    """
    if choice == "auto":
        return is_terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
    return choice == "always"


class ScriptText:
    """One stream of a script on its way to a screen."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._held = ""
        self._coloured = False

    def feed(self, text: str) -> str:
        """What can be shown of it by now."""
        if not self._colours:
            return visible(text, keep=_KEPT)
        text, self._held = _without_cut_sequence(self._held + text)
        parts = _SGR.split(text)  # every second part is a sequence
        self._coloured = self._coloured or len(parts) > 1
        passed = (number % 2 and not _hides(part) for number, part in enumerate(parts))
        return "".join(
            part if passes else visible(part, keep=_KEPT) for part, passes in zip(parts, passed, strict=True)
        )

    def end(self) -> str:
        """What was held back and nothing completes any more."""
        rest, self._held = visible(self._held, keep=_KEPT), ""
        return rest

    def reset(self) -> str:
        """What ends the colours there have been, before somebody else writes."""
        coloured, self._coloured = self._coloured, False
        return RESET if coloured else ""


def ends_line(text: str) -> bool | None:
    """Whether what was printed ends with a line feed, colours aside; None if it prints nothing."""
    tail = _SGR.sub("", text[-4 * _LONGEST_SGR :])
    return tail.endswith("\n") if tail else None


def _hides(sequence: str) -> bool:
    r"""Whether an SGR sequence conceals text or makes it blink. A colour has numbers of its own.

    >>> _hides("\x1b[1;8m"), _hides("\x1b[38;5;8m"), _hides("\x1b[38:5:8;31m")
    (True, False, False)
    """
    fields = sequence[2:-1].split(";")
    at = 0
    while at < len(fields):
        first, colon, _ = fields[at].partition(":")
        code = int(first or 0)
        if code in _HIDING:
            return True
        kind = fields[at + 1] if at + 1 < len(fields) else ""
        at += _FIELDS_OF_COLOUR.get(kind, 1) if code in _COLOURS and not colon else 1
    return False


def _without_cut_sequence(text: str) -> tuple[str, str]:
    """The text, and the beginning of a sequence at its end that may still become one."""
    start = text.rfind("\x1b")
    if start >= 0 and _SGR_BEGUN.fullmatch(text, start):
        return text[:start], text[start:]
    return text, ""
