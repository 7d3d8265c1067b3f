"""The scripts of the soak: what each does, and how it must end.

Each writes its task's id and its node to a file outside of its cell when it starts (the owner's policy lets it): the
file system counts the starts. Those that end well print the id too, so that a result can be told to be the right one.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server_stub.rules.task_limits import MAX_OUTPUT_BYTES

BESIDE: Final = 65_536
"""Bytes of output asked for where a script writes more."""
NODE_VARIABLE: Final = "SOAK_NODE"
"""An agent's own name, which the owner's policy lets its scripts see: a task for two nodes has one id."""
LONG_S: Final = 60
"""Of scripts that wait to be cancelled: longer than any trouble of the soak."""


@dataclass(frozen=True)
class Kind:
    """``weight``: how often, beside the others. ``body`` follows the mark of the start."""

    name: str
    weight: int
    interpreter: str
    body: str
    outcome: str
    timeout_s: int = 30
    output_limit: int = 0
    level: str = ""
    nodes: int = 1
    cancelled: bool = False
    """An operator cancels it after a while."""
    watched: bool = False
    """It takes its time and talks: worth being looked at."""
    bytes_out: int | None = None
    """Exactly so many on standard output."""


_SAY = {
    "sh": 'echo "$LATTICE_TASK_ID"',
    "bash": 'echo "$LATTICE_TASK_ID"',
    "python3": 'print(os.environ["LATTICE_TASK_ID"])',
    "node": "console.log(process.env.LATTICE_TASK_ID)",
}
_CHATTER = "for n in 1 2 3 4 5 6 7 8 9 10; do echo line $n of a script that takes its time; sleep 0.25; done"
_AT_THE_CAP = f"head -c {MAX_OUTPUT_BYTES} /dev/zero | tr '\\0' x"
_LEFTOVERS = "setsid sleep 60 & (trap '' TERM HUP; sleep 60) & " + _SAY["sh"]

KINDS: Final = (
    Kind("sh", 6, "sh", _SAY["sh"], "succeeded"),
    Kind("bash", 3, "bash", f'declare -A seen=([a]=1); {_SAY["bash"]}', "succeeded"),
    Kind("python3", 3, "python3", _SAY["python3"], "succeeded"),
    Kind("node", 2, "node", _SAY["node"], "succeeded"),
    Kind("at level host", 2, "sh", _SAY["sh"], "succeeded", level="host"),
    Kind("at level network", 1, "sh", _SAY["sh"], "succeeded", level="network"),
    Kind("that talks", 3, "bash", f"{_SAY['bash']}; {_CHATTER}", "succeeded", watched=True),
    Kind("exit 3", 2, "sh", "echo no >&2; exit 3", "failed"),
    Kind("killed by itself", 1, "bash", "kill -KILL $$", "failed"),
    Kind("exception", 1, "python3", 'raise RuntimeError("as it should be")', "failed"),
    Kind("too slow", 1, "sh", "sleep 60", "timed_out", timeout_s=1),
    Kind("deaf and too slow", 1, "bash", "trap '' TERM; while :; do sleep 1; done", "timed_out", timeout_s=1),
    Kind("at the cap", 1, "sh", _AT_THE_CAP, "succeeded", output_limit=MAX_OUTPUT_BYTES, bytes_out=MAX_OUTPUT_BYTES),
    Kind("beyond the cap", 2, "bash", f"{_AT_THE_CAP}; {_AT_THE_CAP}", "output_limit", output_limit=BESIDE,
         bytes_out=BESIDE),
    Kind("binary output", 1, "sh", f"{_SAY['sh']}; head -c 20000 /dev/urandom", "succeeded"),
    Kind("leaves processes", 1, "sh", _LEFTOVERS, "succeeded"),
    Kind("leaves them at level host", 1, "sh", _LEFTOVERS, "succeeded", level="host"),
    Kind("cancelled", 2, "bash", f"{_CHATTER}; sleep 60", "cancelled", timeout_s=LONG_S, cancelled=True, watched=True),
    Kind("refused", 1, "sh", "true", "refused", level="landlock"),
    Kind("on both nodes", 2, "sh", _SAY["sh"], "succeeded", nodes=2),
)  # fmt: skip


def script(kind: Kind, starts: Path) -> str:
    """The whole text; ``starts`` is the file of the marks."""
    comment = "//" if kind.interpreter == "node" else "#"
    header = f"{comment} lattice: level={kind.level}\n" if kind.level else ""
    return f"{header}{_MARKS[kind.interpreter](str(starts))}\n{kind.body}\n"


def _shell_mark(path: str) -> str:
    return f'echo "$LATTICE_TASK_ID ${NODE_VARIABLE}" >> {shlex.quote(path)}'


def _python_mark(path: str) -> str:
    mark = f'os.environ["LATTICE_TASK_ID"] + " " + os.environ["{NODE_VARIABLE}"] + "\\n"'
    return f'import os\nwith open({path!r}, "a") as starts:\n    starts.write({mark})'


def _node_mark(path: str) -> str:
    mark = f"`${{process.env.LATTICE_TASK_ID}} ${{process.env.{NODE_VARIABLE}}}\\n`"
    return f'require("fs").appendFileSync({json.dumps(path)}, {mark})'


_MARKS: Mapping[str, Callable[[str], str]] = {
    "sh": _shell_mark,
    "bash": _shell_mark,
    "python3": _python_mark,
    "node": _node_mark,
}


def says_its_id(kind: Kind) -> bool:
    """Whether standard output begins with the task's id."""
    return _SAY[kind.interpreter] in kind.body
