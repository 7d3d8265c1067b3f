"""The output of one target on the screen while it comes, and the rest of it at the end.

The result is what counts; what came live is only earlier. So at the end the two are compared, and the screen gets what
it lacks: the rest, if the live part stopped early, or all of the result, with a word about it, if they differ.

Each piece says at which byte of its stream it begins. What was shown already is skipped (a connection anew, or a server
that begins again after its restart), and after a gap nothing more of that stream is shown until the result fills it.
What is kept for the comparison is bounded by what a result can hold (``MAX_OUTPUT_BYTES`` of each stream); a server
that sends more is not shown live beyond it.
"""

import codecs
import os
from base64 import b64decode
from typing import TextIO

from server_stub.cli.errors import AnswerError
from server_stub.cli.screen import Screen
from server_stub.cli.script_text import ScriptText, ends_line, passes_colours
from server_stub.cli.task_answers import Output, Result
from server_stub.rules.task_limits import MAX_OUTPUT_BYTES


class LiveStream:
    """One of the two streams: what was shown of it, and what of the next piece can be."""

    def __init__(self, *, colours: bool) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character cut by two pieces stays whole
        self._text = ScriptText(colours=colours)
        self._bytes = 0
        self._shown: list[str] = []
        self._gap = False
        self._at_line_start = True

    def take(self, offset: int, data: bytes) -> str:
        """What to print for bytes that begin at ``offset``."""
        if self._gap or offset > self._bytes or self._bytes >= MAX_OUTPUT_BYTES:
            self._gap = True
            return ""
        fresh = data[self._bytes - offset :][: MAX_OUTPUT_BYTES - self._bytes]
        self._bytes += len(fresh)
        text = self._decoder.decode(fresh)
        self._shown.append(text)
        return self._printed(self._text.feed(text))

    def complete(self, result: str) -> tuple[str, str, str]:
        """What to print so that the screen has the whole result: the rest, a remark if one is needed, text after it."""
        shown = "".join(self._shown)
        if result.startswith(shown):
            return self._closed(self._text.feed(result[len(shown) :])), "", ""
        closing = self._closed("")
        if shown.startswith(result):  # a result counts broken characters as three bytes, and so holds fewer of them
            return closing, "the result holds less than is shown above", ""
        return closing, "what is shown above is not the result, which follows", self._closed(self._text.feed(result))

    def interrupt(self) -> str:
        """What to print before somebody else writes to the same screen; also at the end where there is no result."""
        return self._closed("")

    def _closed(self, text: str) -> str:
        """Ends with the line, if there is one, and in the screen's own colours."""
        text = self._printed(text + self._text.end())
        end = "" if self._at_line_start else "\n"
        self._at_line_start = True
        return text + self._text.reset() + end

    def _printed(self, text: str) -> str:
        ended = ends_line(text)
        self._at_line_start = self._at_line_start if ended is None else ended
        return text


class LiveOutput:
    """Both streams of one target, each to the stream of ours that has its name."""

    def __init__(self, screen: Screen, colours: str) -> None:
        self._screen = screen
        self._files = {"stdout": screen.out, "stderr": screen.err}
        self._streams = {name: LiveStream(colours=_colours(colours, file)) for name, file in self._files.items()}
        self.position = 0
        """Where to go on from after a break."""

    def piece(self, output: Output) -> None:
        """Prints what is new in a piece; ``AnswerError`` for one that belongs nowhere."""
        if output.stream not in self._streams or output.offset < 0 or output.position < 0:
            raise AnswerError(f"a piece of output is for stream {output.stream!a} at offset {output.offset}")
        try:
            data = b64decode(output.data, validate=True)
        except ValueError:
            raise AnswerError("a piece of output is not base64") from None
        self.position = output.position + len(data)
        self._write(output.stream, self._streams[output.stream].take(output.offset, data))

    def restart(self) -> None:
        """What the server had is gone. The screen keeps what it has; the offsets of the next pieces say what is new."""
        self.position = 0

    def result(self, result: Result) -> None:
        """Prints what the screen lacks of the result."""
        for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
            rest, remark, again = self._streams[name].complete(text)
            self._write(name, rest)
            if remark:
                self._screen.remark(f"{name}: {remark}")
            self._write(name, again)

    def remark(self, text: str) -> None:
        """A line of ours, at the beginning of a line and in the screen's own colours."""
        for name, stream in self._streams.items():
            self._write(name, stream.interrupt())
        self._screen.remark(text)
        self._screen.err.flush()

    def _write(self, name: str, text: str) -> None:
        if text:
            self._files[name].write(text)
            self._files[name].flush()


def _colours(choice: str, file: TextIO) -> bool:
    return passes_colours(choice, is_terminal=file.isatty(), environ=os.environ)
