"""Trouble that lasts is told when it begins, when its reason changes and when it is over: not with every attempt.

A disk that is full for a night would otherwise fill what is left of it with the log.
"""

import logging
from typing import Final

MOST: Final = 64
"""Subjects of one component that are remembered. Beyond them the one told longest ago is forgotten, and told again."""


class Complaints:
    """What one component has complained about. ``subject`` is what the trouble is about: a task, the disk."""

    def __init__(self, log: logging.Logger, level: int = logging.ERROR) -> None:
        self._log = log
        self._level = level
        self._said: dict[str, str] = {}

    def say(self, subject: str, text: str) -> None:
        """The subject is in trouble; one line, unless this is what was said last about it."""
        if self._said.get(subject) == text:
            return
        if subject not in self._said and len(self._said) >= MOST:
            del self._said[next(iter(self._said))]
        self._said[subject] = text
        self._log.log(self._level, "%s", text)

    def over(self, subject: str, text: str) -> None:
        """The subject is well; one line if anything was said about it."""
        if self._said.pop(subject, None) is not None:
            self._log.info("%s", text)
