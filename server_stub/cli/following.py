"""``--follow``: one target with its output live, several with a bar; what an interrupt means; the exit code."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from server_stub.cli.answers import read
from server_stub.cli.follow import wait_for_end
from server_stub.cli.live_output import LiveOutput
from server_stub.cli.outcome import summary
from server_stub.cli.screen import Screen
from server_stub.cli.script_text import COLOUR_CHOICES
from server_stub.cli.task_answers import Task, TaskAnswer
from server_stub.cli.text import visible

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi

NOT_SUCCEEDED: Final = 1
"""Exit code for a task that did not succeed on every node; sysexits codes begin at 64."""


def add_colour_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--color",
        choices=COLOUR_CHOICES,
        default="auto",
        help="colours of the script's output: auto: on a terminal; always: also into a pipe; never. "
        "Everything else that acts on a terminal is shown as an escape",
    )


def follow_task(api: "OperatorApi", screen: Screen, task: Task, args: argparse.Namespace) -> int:
    """Follows a task that was just made; the exit code. Raises ``ControlError``."""
    queued = f"task {visible(task.id)} is queued; interrupting the wait does not stop it\n"
    if args.json:
        with interruptible(screen, screen.remark, task.id, hello=queued):
            answer = wait_for_end(api, task.id)
        screen.document(answer)
        return exit_code(read(TaskAnswer, answer).task.succeeded)
    if len(task.nodes) == 1:
        return follow_one(api, screen, task.id, task.nodes[0], args.color, hello=queued)
    return follow_many(api, screen, task.id, hello=queued)


def follow_one(api: "OperatorApi", screen: Screen, task_id: str, node_id: str, colours: str, *, hello: str = "") -> int:
    """The output of one target, live to its end; the exit code."""
    live = LiveOutput(screen, colours)
    with interruptible(screen, live.remark, task_id, hello=hello):
        from server_stub.cli.follow_one import follow_output, has_succeeded

        return exit_code(has_succeeded(follow_output(api, live, task_id, node_id)))


def follow_many(api: "OperatorApi", screen: Screen, task_id: str, *, hello: str = "") -> int:
    """Every target as it ends; the exit code."""
    with interruptible(screen, screen.remark, task_id, hello=hello):
        from server_stub.cli.fan_out import follow_targets

        task = follow_targets(api, screen, task_id)
    screen.remark(summary(task))
    return exit_code(task.succeeded)


def exit_code(succeeded: bool) -> int:
    return os.EX_OK if succeeded else NOT_SUCCEEDED


@contextmanager
def interruptible(screen: Screen, remark: Callable[[str], None], task_id: str, *, hello: str = "") -> Iterator[None]:
    """An interrupt ends the command, not the task, and says how to do either of what may have been meant.

    ``hello`` is told first, where an interrupt is already known for what it is.
    """
    try:
        screen.err.write(hello)
        screen.err.flush()
        yield
    except KeyboardInterrupt:
        shown = visible(task_id)
        if screen.err.isatty():
            screen.err.write("\n")  # the terminal has written ^C
        remark(f"task {shown} goes on; see it with lattice-control task show {shown}")
        screen.remark(f"to end it: lattice-control task cancel {shown}")
        raise
