"""POST /api/agent/task-result: what became of a task (protocol reference 2.4, 3.7)."""

from enum import StrEnum
from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Time, Uint, WireModel


class RunOutcome(StrEnum):
    """How a run ended, in the words of ``RunDetail.outcome``: a closed set, but a reader goes by exit code and
    error of the base wire where it does not know the word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It ended with an exit code or by a signal."""
    TIMED_OUT = "timed_out"
    """A clock ended it: ``RunDetail.clock``."""
    CANCELLED = "cancelled"
    OUTPUT_LIMIT = "output_limit"
    """It exited with 0, but a stream was cut."""
    MEMORY_LIMIT = "memory_limit"
    REFUSED = "refused"
    """The node's own policy did not let it run: ``RunDetail.rule``."""
    NOT_STARTED = "not_started"
    """It was allowed, but could not be started."""
    INTERRUPTED = "interrupted"
    """The agent, or a part of it, ended under it; whether it completed is not known."""


class RunClock(StrEnum):
    """The clocks of a task, in the words of ``RunDetail.clock``."""

    QUEUED = "queued"
    WALL = "wall"
    CPU = "cpu"
    GRACE = "grace"


class RunDetail(WireModel):
    """What the base wire has no field for (docs/protocol.md, ``results.detail``). Times are milliseconds."""

    outcome: str = ""
    """A ``RunOutcome``."""
    reason: Annotated[str, OMIT] = ""
    """One sentence, where the outcome alone does not say why."""
    rule: Annotated[str, OMIT] = ""
    """Of REFUSED: the gate that said no, in the words of ``exec.plan.RefusalKind``."""
    level: Annotated[str, OMIT] = ""
    """The sandbox level it ran at."""
    signal: Annotated[Int, OMIT] = 0
    """That ended the main process."""
    clock: Annotated[str, OMIT] = ""
    """The ``RunClock`` that ended the run: WALL or CPU for a time-out; GRACE: cancelled, and it had to be killed."""
    grace_expired: Annotated[bool, OMIT] = False
    """It did not end within the grace after SIGTERM, and was killed."""
    queued_ms: Annotated[Uint, OMIT] = 0
    """On the node: from its lease to its start."""
    wall_ms: Annotated[Uint, OMIT] = 0
    cpu_ms: Annotated[Uint, OMIT] = 0
    grace_ms: Annotated[Uint, OMIT] = 0
    """From SIGTERM to the end of the last process."""
    max_rss_bytes: Annotated[Uint, OMIT] = 0
    stdout_bytes: Annotated[Uint, OMIT] = 0
    """Produced, whether or not kept."""
    stderr_bytes: Annotated[Uint, OMIT] = 0
    killed: Annotated[Uint, OMIT] = 0
    """Processes besides the main one that had to be killed."""
    lingering: Annotated[Uint, OMIT] = 0
    uncertain: Annotated[bool, OMIT] = False
    """Processes of the run may be alive."""


class TaskResult(WireModel):
    """Streams and ``error`` count in UTF-8 bytes after decoding against the task's output limit. ``detail`` is ours."""

    task_id: str = ""
    lease_id: str = ""
    node_id: str = ""
    exit_code: Int = 0
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    started_at: Time = None
    finished_at: Time = None
    detail: Annotated[RunDetail | None, OMIT] = None


class ResultReport(WireModel):
    """The request body around one result."""

    node_id: str = ""
    result: TaskResult = TaskResult()
