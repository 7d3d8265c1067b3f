"""How a task and its results look on a screen."""

from collections.abc import Iterable
from textwrap import indent

from server_stub.cli.answers import Result, Task
from server_stub.cli.screen import Screen
from server_stub.cli.text import duration, fields, moment, size, visible, visible_lines


def show_task(screen: Screen, task: Task) -> None:
    """Everything known about a task, then each node's result."""
    screen.lines(fields(_facts(task)))
    for result in task.results:
        screen.lines(["", f"{visible(result.node_id)}: {verdict(result)}"])
        _show_streams(screen, result)


def show_end(screen: Screen, task: Task) -> None:
    """The end of a followed task.

    With one node the streams go where the script sent them, so that the command can stand in a pipe for the script;
    with several, each node has a heading and everything goes to standard output.
    """
    for result in task.results:
        if len(task.nodes) > 1:
            screen.lines([f"== {visible(result.node_id)}: {verdict(result)}"])
            _show_streams(screen, result)
        else:
            screen.output(visible_lines(result.stdout))
            if result.stderr:
                screen.remark(visible_lines(result.stderr))
    screen.remark(_summary(task))


def verdict(result: Result) -> str:
    """The end of a script on one node in a few words: exit code, agent's error, time."""
    parts = [f"exit {result.exit_code}"]
    if result.error:
        parts.append(visible(result.error))
    if result.started_at is not None and result.finished_at is not None:
        parts.append(f"took {duration((result.finished_at - result.started_at).total_seconds())}")
    return ", ".join(parts)


def _summary(task: Task) -> str:
    text = f"task {visible(task.id)} {visible(task.status)}"
    if task.reason:
        text += f": {visible(task.reason)}"
    if len(task.nodes) <= 1:
        text += "".join(f" on {visible(result.node_id)}: {verdict(result)}" for result in task.results)
    return text


def _facts(task: Task) -> Iterable[tuple[str, str]]:
    yield "task", task.id
    yield "status", task.status + (f": {task.reason}" if task.reason else "")
    yield "nodes", ", ".join(task.nodes)
    yield "interpreter", task.interpreter
    yield "script", f"{size(task.script_size_bytes)}, sha256 {task.script_sha256}"
    yield "limits", f"{duration(task.timeout_sec)}, {size(task.output_limit)} of each stream"
    yield "attempts", str(task.attempts)
    yield "asked by", task.actor
    yield "created", moment(task.created_at)
    yield "started", moment(task.started_at)
    yield "ended", moment(task.finished_at)


def _show_streams(screen: Screen, result: Result) -> None:
    """Indented, so that no script can print what looks like the heading of another node."""
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text:
            screen.lines([f"-- {name}"])
            screen.output(indent(visible_lines(text), "   ", lambda _: True))
