"""When a target was in which state, what the four clocks say, and what the node used."""

from collections.abc import Iterator
from datetime import datetime

from server_stub.cli.task_answers import Detail, Result, Target, Task
from server_stub.cli.text import duration, fields, moment, size, visible


def target_lines(task: Task, target: Target, result: Result | None) -> list[str]:
    """``name  value`` lines; only what is known, so none for a server that tells no targets."""
    detail = result.detail if result is not None else None
    lines = [*_times(task, target)]
    if detail is not None:
        lines += [("clocks", ", ".join(_clocks(task, target, detail))), ("used", ", ".join(_used(detail)))]
        lines += [("left over", words) for words in _left_over(detail)]
    return fields((name, value) for name, value in lines if value)


def _times(task: Task, target: Target) -> Iterator[tuple[str, str]]:
    """Each time with the seconds since the one before that is known."""
    before = task.created_at
    for name, time in (
        ("leased", target.leased_at),
        ("running", target.running_since),
        ("cancel asked", target.cancel_requested_at),
        ("ended", target.finished_at),
    ):
        if time is not None:
            yield name, moment(time) + _since(before, time)
            before = time
    if target.attempts > 1:
        yield "attempts", str(target.attempts)


def _since(before: datetime | None, time: datetime) -> str:
    return "" if before is None else f" (+{duration((time - before).total_seconds())})"


def _clocks(task: Task, target: Target, detail: Detail) -> Iterator[str]:
    """Queued, wall, CPU, grace; the one that ended the run is named."""
    if task.created_at is not None and target.leased_at is not None:
        yield f"queued {duration((target.leased_at - task.created_at).total_seconds())}"
    if detail.queued_ms:
        yield f"waited on the node {_seconds(detail.queued_ms)}"
    yield f"wall {_seconds(detail.wall_ms)} of {duration(task.timeout_sec)}"
    yield f"CPU {_seconds(detail.cpu_ms)}"
    if detail.grace_ms or detail.grace_expired:
        yield f"grace {_seconds(detail.grace_ms)}" + (", then killed" if detail.grace_expired else "")
    if detail.clock:
        yield f"ended by the {visible(detail.clock)} clock"


def _used(detail: Detail) -> Iterator[str]:
    if detail.level:
        yield f"level {visible(detail.level)}"
    if detail.max_rss_bytes:
        yield f"memory {size(detail.max_rss_bytes)}"
    yield f"printed {size(detail.stdout_bytes)} and {size(detail.stderr_bytes)}"


def _left_over(detail: Detail) -> Iterator[str]:
    if detail.killed:
        yield f"{detail.killed} processes killed"
    if detail.lingering:
        yield f"{detail.lingering} processes may linger, as local policy allows"
    if detail.uncertain:
        yield "processes of the run may still be alive on the node"


def _seconds(milliseconds: int) -> str:
    return duration(milliseconds / 1000)
