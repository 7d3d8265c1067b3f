"""POST /api/agent/task-result: what became of a task (protocol reference 2.4, 3.7)."""

from lattice_agent.wire.base import Int, Time, WireModel


class TaskResult(WireModel):
    """Streams and ``error`` count in UTF-8 bytes after decoding against the task's output limit."""

    task_id: str = ""
    lease_id: str = ""
    node_id: str = ""
    exit_code: Int = 0
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    started_at: Time = None
    finished_at: Time = None


class ResultReport(WireModel):
    """The request body around one result."""

    node_id: str = ""
    result: TaskResult = TaskResult()
