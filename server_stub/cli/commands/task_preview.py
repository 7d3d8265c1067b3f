"""``task preview``: what the policy of each node would say to a task, before it is sent."""

import argparse
import os

from server_stub.cli.answers import read
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import Preview, PreviewAnswer
from server_stub.cli.task_order import add_order_arguments, order_body
from server_stub.cli.text import Column, duration, size, table, visible

_REFUSED = "refused"
_WOULD_REFUSE = 1
"""Exit code."""
_COLUMNS = (Column("NODE"), Column("VERDICT"), Column("STATE"), Column("LEVEL"), Column("TIMEOUT"), Column("OUTPUT"))


def _run(args: argparse.Namespace, screen: Screen) -> int:
    body = order_body(args)
    with connect(args) as api:
        answer = api.post(("tasks", "preview"), body)
    previews = read(PreviewAnswer, answer).nodes
    if args.json:
        screen.document(answer)
    else:
        screen.lines(table(_COLUMNS, map(_row, previews)))
        # Under the table and not in it: the reason is what counts, and a cell would cut it.
        screen.lines(f"{visible(p.node_id)}: {visible(p.text)}" for p in previews if p.text)
    return _WOULD_REFUSE if any(preview.verdict == _REFUSED for preview in previews) else os.EX_OK


def _row(preview: Preview) -> tuple[str, ...]:
    return (
        preview.node_id,
        preview.verdict,
        "online" if preview.online else "offline",
        preview.level,
        duration(preview.timeout_sec) if preview.timeout_sec else "",
        size(preview.output_limit) if preview.output_limit else "",
    )


COMMAND = Command(
    words=("task", "preview"),
    summary="ask what the policy of each node would say to a script, without sending it",
    details=(
        "The answer comes from what the nodes told of their policies last; a node decides again when it has the task, "
        "and its word counts. unknown: what the node has told does not decide it, or it has told nothing, as older "
        "agents do. What else keeps a node from taking the task (it is disabled, or drains) is said under the table. "
        "The exit code is 1 if a node would refuse the script, else 0."
    ),
    add_arguments=add_order_arguments,
    run=_run,
)
