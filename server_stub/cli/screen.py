"""Where a command writes: the result to standard output, remarks to standard error.

Text is written as it is given: whoever builds a line passes foreign parts through ``text.visible`` first
(``text.table`` and ``text.fields`` do so themselves). JSON is written in ASCII, so that no character of it can
reach a terminal as a control.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Screen:
    """The two streams of a command."""

    out: TextIO
    err: TextIO

    def lines(self, lines: Iterable[str]) -> None:
        """Finished lines of the result."""
        for line in lines:
            self.out.write(line + "\n")

    def output(self, text: str) -> None:
        """Text of the result that carries its own line ends."""
        self.out.write(text)

    def document(self, answer: Mapping[str, object]) -> None:
        """The server's answer as indented JSON, keys in the server's order."""
        # C1 controls, bidirectional controls and lone surrogates are escaped by ensure_ascii, the rest by JSON itself.
        self.out.write(json.dumps(answer, indent=2, ensure_ascii=True) + "\n")

    def remark(self, text: str) -> None:
        """Something about the result, not the result: standard error, so that a pipe does not see it."""
        self.out.flush()  # keeps the order when both go to one terminal or file
        self.err.write(text if text.endswith("\n") else text + "\n")
