"""How a task, its targets and their results look on a screen. No end is a bare word: it has a sentence of the server's
or, where an older one gives none, exit code and error."""

from collections.abc import Iterable, Iterator
from textwrap import indent
from typing import Final

from server_stub.cli.progress import outcome_words
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import EndAnswer, Result, Target, Task
from server_stub.cli.text import duration, fields, moment, size, visible, visible_lines
from server_stub.cli.timeline import target_lines

_TELL_TIME: Final = frozenset({"cancelled", "timed_out"})
"""Outcomes whose sentences say themselves after how long."""


def show_task(screen: Screen, task: Task) -> None:
    """Everything known about a task, then each target with its result."""
    screen.lines(fields(_facts(task)))
    results = {result.node_id: result for result in task.results}
    for target in task.targets or _targets_of(task):
        result = results.get(target.node_id)
        screen.lines(["", f"{visible(target.node_id)}: {verdict(result) if result else visible(target.words)}"])
        screen.lines(f"   {line}" for line in target_lines(task, target, result))
        if result is not None:
            show_streams(screen, result)


def show_streams(screen: Screen, result: Result) -> None:
    """Indented, so that no script can print what looks like the heading of another node."""
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if text:
            screen.lines([f"-- {name}"])
            screen.output(indent(visible_lines(text), "   ", lambda _: True))


def verdict(result: Result) -> str:
    """The end of a script on one node: the server's sentence, or exit code and agent's error; and the time it took."""
    parts = [visible(result.text)] if result.text else [f"exit {result.exit_code}"]
    if result.error and not result.text:
        parts.append(visible(result.error))
    tells_time = result.outcome in _TELL_TIME
    if result.started_at is not None and result.finished_at is not None and not tells_time:
        parts.append(f"took {duration((result.finished_at - result.started_at).total_seconds())}")
    return ", ".join(parts)


def ending(task_id: str, node_id: str, ended: Result | EndAnswer) -> str:
    """The last line about a target that was followed."""
    words = verdict(ended) if isinstance(ended, Result) else visible(ended.text or ended.outcome or "ended")
    return f"task {visible(task_id)} on {visible(node_id)}: {words}"


def summary(task: Task) -> str:
    """The last line about a task that was followed: how many ended how."""
    text = f"task {visible(task.id)} {visible(task.status)}"
    if task.outcomes:
        text += f": {outcome_words(task.outcomes)}"
    return text + (f" ({visible(task.reason)})" if task.reason else "")


def _targets_of(task: Task) -> Iterator[Target]:
    """Of a server that tells none: only the nodes with a result have something to show."""
    return (Target(node_id=result.node_id) for result in task.results)


def _facts(task: Task) -> Iterable[tuple[str, str]]:
    yield "task", task.id
    yield "status", task.status + (f": {task.reason}" if task.reason else "")
    if task.outcomes:
        yield "outcomes", outcome_words(task.outcomes)
    yield "nodes", ", ".join(task.nodes)
    if task.rerun_of:
        yield "again", f"the script of {task.rerun_of}"
    yield "interpreter", task.interpreter
    yield "script", f"{size(task.script_size_bytes)}, sha256 {task.script_sha256}"
    yield "limits", ", ".join(_limits(task))
    yield "attempts", str(task.attempts)
    yield "asked by", task.actor
    yield "created", moment(task.created_at)
    yield "started", moment(task.started_at)
    yield "ended", moment(task.finished_at)


def _limits(task: Task) -> Iterator[str]:
    yield duration(task.timeout_sec)
    yield f"{size(task.output_limit)} of each stream"
    if task.queue_timeout_sec:
        yield f"{duration(task.queue_timeout_sec)} in the queue"
    if task.concurrency:
        yield f"{task.concurrency} nodes at once"
    if task.max_failures:
        yield f"stopped after {task.max_failures} failures"
