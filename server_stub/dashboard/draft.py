"""A task that is being written: the fields of its form as they were typed, and what they ask for."""

from dataclasses import dataclass
from typing import Any, Final

from server_stub.api.body import as_order
from server_stub.api.orders import CreateTask
from server_stub.dashboard.forms import Form, one
from server_stub.errors import Refused
from server_stub.rules.task_limits import DEFAULT_OUTPUT_BYTES, DEFAULT_TIMEOUT_S, MAX_SCRIPT_BYTES, MAX_TARGETS
from server_stub.store.records import Task

NUMBERS: Final = {
    "timeout_sec": "time limit",
    "output_limit": "output limit",
    "queue_timeout_sec": "longest wait",
    "concurrency": "nodes at once",
    "max_failures": "failures",
}
"""Fields that hold a whole number, in the order of ``Draft``, with the words of the form for them."""


@dataclass(frozen=True)
class Draft:
    """Empty numbers are left to the defaults. ``chosen`` are nodes that were ticked, ``nodes`` is what was typed."""

    script: str = ""
    interpreter: str = "sh"
    chosen: tuple[str, ...] = ()
    nodes: str = ""
    tags: str = ""
    timeout_sec: str = str(DEFAULT_TIMEOUT_S)
    output_limit: str = str(DEFAULT_OUTPUT_BYTES)
    queue_timeout_sec: str = ""
    concurrency: str = ""
    max_failures: str = ""

    def order(self) -> CreateTask:
        """``Refused`` 400 where something cannot be what was meant."""
        nodes = [*self.chosen, *_words(self.nodes)]
        tags = _words(self.tags)
        if len(nodes) > MAX_TARGETS:
            raise Refused(400, f"{len(nodes)} nodes are named; a task is for {MAX_TARGETS} at most")
        if not nodes and not tags:
            raise Refused(400, "choose at least one node, or a tag")
        if not self.script.strip():
            raise Refused(400, "the script is empty")
        if len(self.script.encode(errors="replace")) > MAX_SCRIPT_BYTES:
            raise Refused(400, f"the script is longer than {MAX_SCRIPT_BYTES:,} bytes")
        numbers: dict[str, Any] = {name: _number(getattr(self, name), words) for name, words in NUMBERS.items()}
        what = {"nodes": nodes, "tags": tags, "interpreter": self.interpreter, "script": self.script}
        return as_order(CreateTask, what | numbers)


def sent_draft(form: Form) -> Draft:
    """Browsers send line ends as CR LF; a shell wants LF."""
    return Draft(
        one(form, "script").replace("\r\n", "\n"),
        one(form, "interpreter"),
        tuple(form.get("chosen", ())),
        *(one(form, name) for name in ("nodes", "tags", *NUMBERS)),
    )


def draft_like(task: Task) -> Draft:
    """The same again, to be changed."""
    numbers: dict[str, Any] = {name: str(getattr(task, name) or "") for name in NUMBERS}
    return Draft(script=task.script, interpreter=task.interpreter, nodes=" ".join(task.nodes), **numbers)


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _number(text: str, words: str) -> int:
    stripped = text.strip()
    if not stripped:
        return 0
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 9):
        raise Refused(400, f"{words}: {stripped[:20]!r} is not a whole number")
    return int(stripped)
