"""How far a task on many nodes is: a bar that is redrawn on a terminal, plain lines elsewhere. On standard error."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import OPEN_WORDS, SUCCEEDED, Target
from server_stub.cli.text import visible

_BAR: Final = 20  # columns
_CLEAR: Final = "\r\x1b[K"


def counted(targets: tuple[Target, ...]) -> dict[str, int]:
    """Targets by the word for where they are."""
    counts: dict[str, int] = {}
    for target in targets:
        word = target.outcome or target.state
        counts[word] = counts.get(word, 0) + 1
    return counts


def outcome_words(counts: Mapping[str, int]) -> str:
    """What succeeded first, then the other ends, then what has not ended.

    >>> outcome_words({"timed_out": 1, "queued": 2, "failed": 0, "succeeded": 3})
    '3 succeeded, 1 timed out, 2 queued'
    """
    ordered = sorted(counts.items(), key=lambda item: (item[0] in OPEN_WORDS, item[0] != SUCCEEDED, item[0]))
    return ", ".join(f"{count} {visible(word).replace('_', ' ')}" for word, count in ordered if count)


def bar(targets: tuple[Target, ...]) -> str:
    """Such as ``[#####---------------] 3 of 12 ended: 2 succeeded, 1 failed, 9 queued``."""
    total, ended = len(targets), sum(target.ended for target in targets)
    filled = _BAR * ended // total if total else _BAR
    return f"[{'#' * filled}{'-' * (_BAR - filled)}] {ended} of {total} ended: {outcome_words(counted(targets))}"


class Progress:
    """The last line of the terminal, taken away while anything else is written."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._is_terminal = screen.err.isatty()
        self._line = ""

    def show(self, targets: tuple[Target, ...]) -> None:
        """Draws the bar; elsewhere than on a terminal it is a line each time it has changed."""
        line = bar(targets)
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns
            self._screen.err.write(_CLEAR + line[: columns - 1])  # the last column would begin a new line
            self._screen.err.flush()
        elif line != self._line:
            self._screen.remark(line)
        self._line = line

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For writing to either stream."""
        if self._is_terminal and self._line:
            self._screen.err.write(_CLEAR)
            self._screen.err.flush()
        yield
        self._screen.out.flush()
