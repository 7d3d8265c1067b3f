"""A node in a few words: what it is doing, and what its sandbox really is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from server_stub.rules.facts import is_online
from server_stub.store.records import Node

GOOD, BUSY, IDLE, WARN, BAD = "good", "busy", "idle", "warn", "bad"
_LEVELS: Final = {"strict": GOOD, "network": GOOD, "landlock": WARN, "host": WARN}


@dataclass(frozen=True)
class Shown:
    """A word, how it is marked, and the sentence behind it."""

    word: str
    kind: str
    text: str = ""


def states(node: Node, now: datetime) -> tuple[Shown, ...]:
    """One or two: whether it is there, and whether it is handed tasks."""
    if node.disabled:
        return (Shown("disabled", BAD, "its token is refused"),)
    if node.presence.last_seen is None:
        there = Shown("never seen", IDLE, "its agent has not called yet")
    elif is_online(node.presence.last_seen, now):
        there = Shown("online", GOOD)
    else:
        there = Shown("offline", WARN, "nothing heard of it for more than 90 s")
    if node.draining:
        return there, Shown("draining", BUSY, "it is handed no new tasks")
    return (there,)


def sandbox(node: Node) -> Shown:
    """The level that its agent says is in force; its warning in its own words."""
    runtime: dict[str, Any] = node.presence.agent_runtime or {}
    warning = str(runtime.get("task_sandbox_warning", ""))
    level = str(runtime.get("task_sandbox", ""))
    if not runtime:
        return Shown("unknown", IDLE, "it has not said")
    if not runtime.get("allow_exec"):
        return Shown("runs no tasks", IDLE, warning)
    if not level:
        return Shown("unknown", WARN, warning or "its agent does not say what confines a task")
    if level not in _LEVELS:
        return Shown("unknown level", WARN, f"{level} {warning}".strip())
    kind = _LEVELS[level]
    return Shown(level, WARN if warning and kind == GOOD else kind, warning)
