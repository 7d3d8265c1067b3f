"""``task run``: send a script to nodes, and wait for its end when asked to."""

import argparse
import os

from server_stub.cli.answers import Task, TaskAnswer, read
from server_stub.cli.arguments import name, seconds, whole
from server_stub.cli.command import Command, connect
from server_stub.cli.follow import wait_for_end
from server_stub.cli.outcome import show_end
from server_stub.cli.screen import Screen
from server_stub.cli.script import read_script, whole_timeout
from server_stub.cli.text import visible
from server_stub.rules.task_limits import (
    DEFAULT_OUTPUT_BYTES,
    DEFAULT_TIMEOUT_S,
    INTERPRETERS,
    MAX_OUTPUT_BYTES,
    MAX_SCRIPT_BYTES,
    MAX_TIMEOUT_S,
)

_NOT_FINISHED = 1
"""Exit code of --follow for a task that ended in any way but ``finished``; sysexits codes begin at 64."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "script", metavar="FILE", help=f"the script, up to {MAX_SCRIPT_BYTES} bytes of UTF-8; - for standard input"
    )
    parser.add_argument(
        "--node", metavar="NODE", type=name, action="append", required=True, help="where to run it; may be repeated"
    )
    parser.add_argument("--interpreter", choices=INTERPRETERS, required=True, metavar="NAME", help="%(choices)s")
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=seconds,
        help=f"1s to {MAX_TIMEOUT_S}s, such as 90, 30s or 1m30s; {DEFAULT_TIMEOUT_S}s if left out",
    )
    parser.add_argument(
        "--output-limit",
        metavar="BYTES",
        type=whole(1, MAX_OUTPUT_BYTES),
        help=f"bytes kept of each stream, 1 to {MAX_OUTPUT_BYTES}; {DEFAULT_OUTPUT_BYTES} if left out",
    )
    parser.add_argument("--follow", action="store_true", help="wait for the end and print what the script printed")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    body = _body(args)
    with connect(args) as api:
        answer = api.post(("tasks",), body)
        task = read(TaskAnswer, answer).task
        if args.follow:
            screen.remark(f"task {visible(task.id)} is queued; interrupting the wait does not stop it")
            answer = wait_for_end(api, task.id)
    if args.json:
        screen.document(answer)
    return _ended(args, screen, read(TaskAnswer, answer).task) if args.follow else _queued(args, screen, task)


def _body(args: argparse.Namespace) -> dict[str, object]:
    """The task as the server takes it; raises before anything is sent. Limits left out are the server's defaults."""
    body: dict[str, object] = {"nodes": args.node, "interpreter": args.interpreter}
    if args.timeout is not None:
        body["timeout_sec"] = whole_timeout(args.timeout)
    if args.output_limit is not None:
        body["output_limit"] = args.output_limit
    return body | {"script": read_script(args.script)}


def _queued(args: argparse.Namespace, screen: Screen, task: Task) -> int:
    if not args.json:
        screen.lines([f"task {visible(task.id)} is queued; see it with lattice-control task show {visible(task.id)}"])
    return os.EX_OK


def _ended(args: argparse.Namespace, screen: Screen, task: Task) -> int:
    if not args.json:
        show_end(screen, task)
    return os.EX_OK if task.status == "finished" else _NOT_FINISHED


COMMAND = Command(
    words=("task", "run"),
    summary="run a script on nodes",
    details=(
        "With --follow the exit code is 0 when the task finished and 1 when it failed, was lost or was cancelled; "
        "the script's own exit code is in the last line and in --json."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
