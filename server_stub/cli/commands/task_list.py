"""``task list``: tasks, newest first."""

import argparse
import os

from server_stub.cli.answers import read
from server_stub.cli.arguments import name, whole
from server_stub.cli.command import Command, connect
from server_stub.cli.progress import outcome_words
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import Task, TaskList
from server_stub.cli.text import Column, moment, table
from server_stub.rules.states import TaskStatus

_COLUMNS = (
    Column("TASK"),
    Column("STATUS"),
    Column("OUTCOMES"),
    Column("NODES"),
    Column("INTERPRETER"),
    Column("CREATED"),
    Column("ENDED"),
    Column("ASKED BY"),
    Column("REASON"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", metavar="NODE", type=name, help="only tasks for this node")
    parser.add_argument(
        "--status",
        choices=[status.value for status in TaskStatus],
        metavar="STATUS",
        help="only tasks in this one: %(choices)s",
    )
    parser.add_argument("--limit", metavar="N", type=whole(1, 1000), default=50, help="at most this many; %(default)s")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    wanted = {"node": args.node, "status": args.status, "limit": args.limit}
    with connect(args) as api:
        answer = api.get(("tasks",), {key: value for key, value in wanted.items() if value is not None})
    if args.json:
        screen.document(answer)
        return os.EX_OK
    tasks = read(TaskList, answer).tasks
    if tasks:
        screen.lines(table(_COLUMNS, map(_row, tasks)))
    else:
        screen.remark("no such tasks")
    return os.EX_OK


def _row(task: Task) -> tuple[str, ...]:
    return (
        task.id,
        task.status,
        outcome_words(task.outcomes),
        ", ".join(task.nodes),
        task.interpreter,
        moment(task.created_at),
        moment(task.finished_at),
        task.actor,
        task.reason,
    )


COMMAND = Command(
    words=("task", "list"),
    summary="list tasks, newest first",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
