"""What the agent says on stderr: lines for a human on a terminal, one JSON object a line otherwise.

Credentials are kept out of messages by ``Secret``; as a second lock every text that leaves here, tracebacks
included, is searched for the registered ones. Control characters are escaped, because messages quote servers and
scripts, and a terminal obeys what it is shown.
"""

import datetime
import json
import logging
import sys
from typing import Final, TextIO
from urllib.parse import quote

from lattice_agent.secret import Secret

MASK: Final = "***"
_CHATTY: Final = ("httpx", "httpcore", "h11")  # they log each request; our own lines say what matters

_registered: list[str] = []  # a handful: each credential of the process in each of its spellings


def hide(secret: Secret) -> None:
    """From now on this text is replaced by ``***`` wherever it would be written by this module.

    Also as ``repr``, JSON or a URL would write it: foreign messages quote what they complain about.
    """
    text = secret.reveal()
    if not text:
        return
    spellings = {text, repr(text)[1:-1], repr(text.encode())[2:-1], json.dumps(text)[1:-1], quote(text, safe="")}
    # Of two where one holds the other, the longer goes first.
    _registered[:] = sorted(spellings.union(_registered), key=len, reverse=True)


def clean(text: str) -> str:
    """Text without registered secrets, with control characters other than tab and newline escaped."""
    for secret in _registered:
        text = text.replace(secret, MASK)
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def configure(*, debug: bool, stream: TextIO | None = None) -> None:
    """Sends all logging to ``stream`` (stderr), from INFO or with ``debug`` from DEBUG; replaces earlier set-up."""
    target = sys.stderr if stream is None else stream
    handler = _Handler(target)
    handler.setFormatter(_ForHumans() if target.isatty() else _ForMachines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """The standard one prints the raw arguments of the message, which nobody has searched for secrets."""
        try:
            self.stream.write(f"a log line of {record.name} could not be written ({record.pathname}:{record.lineno})\n")
        except (OSError, ValueError):
            return  # stderr is gone or closed: there is nobody left to tell


class _ForHumans(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))


class _ForMachines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = clean(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = clean(record.stack_info)
        # Backslashes of ``clean`` and newlines are escaped once more by JSON, and so come back as they were.
        return json.dumps(line, ensure_ascii=False)
