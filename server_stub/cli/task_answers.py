"""The operator API's answers about tasks, as far as a command shows them (see ``answers``)."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from lattice_agent.wire.base import Int, Items, Time, WireModel
from server_stub.rules.states import OPEN_STATUSES

OPEN_WORDS: Final = frozenset({"queued", "leased", "running"})
"""States and outcomes of targets that have not ended."""
SUCCEEDED: Final = "succeeded"

Count = Annotated[int, Field(ge=-(2**63), le=2**64 - 1)]
"""Nodes count further than ``Int``, and a node that does must not keep its task from being shown."""


class Detail(WireModel):
    """What a node tells of a run beyond the base wire; milliseconds and bytes. Empty and 0 mean not told."""

    outcome: str = ""
    level: str = ""
    clock: str = ""
    grace_expired: bool = False
    queued_ms: Count = 0
    wall_ms: Count = 0
    cpu_ms: Count = 0
    grace_ms: Count = 0
    max_rss_bytes: Count = 0
    stdout_bytes: Count = 0
    stderr_bytes: Count = 0
    killed: Count = 0
    lingering: Count = 0
    uncertain: bool = False


class Result(WireModel):
    """What one node sent back for a task; ``text`` is the server's sentence for ``outcome``."""

    node_id: str = ""
    exit_code: Int = 0
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    started_at: Time = None
    finished_at: Time = None
    received_at: Time = None
    outcome: str = ""
    text: str = ""
    detail: Detail | None = None

    @property
    def succeeded(self) -> bool:
        """By its outcome; where the server tells none, by what the base wire has."""
        return self.outcome == SUCCEEDED if self.outcome else not self.exit_code and not self.error


class Target(WireModel):
    """One task on one node."""

    node_id: str = ""
    state: str = ""
    outcome: str = ""
    text: str = ""
    attempts: Int = 0
    leased_at: Time = None
    running_since: Time = None
    finished_at: Time = None
    cancel_requested_at: Time = None

    @property
    def ended(self) -> bool:
        """A word of a newer server that we do not know is an end."""
        return (self.outcome or self.state) not in OPEN_WORDS

    @property
    def words(self) -> str:
        """The server's sentence, or the word for what has none."""
        return self.text or self.outcome or self.state


class Task(WireModel):
    """A task; sizes in bytes, 0 for no limit. ``targets`` and ``results`` only where one task was asked for."""

    id: str
    actor: str = ""
    nodes: Items[str] = ()
    interpreter: str = ""
    script_sha256: str = ""
    script_size_bytes: Int = 0
    timeout_sec: Int = 0
    output_limit: Int = 0
    concurrency: Int = 0
    max_failures: Int = 0
    queue_timeout_sec: Int = 0
    rerun_of: str = ""
    status: str = ""
    reason: str = ""
    attempts: Int = 0
    created_at: Time = None
    started_at: Time = None
    finished_at: Time = None
    outcomes: Mapping[str, Int] = {}
    targets: Items[Target] = ()
    results: Items[Result] = ()

    @property
    def ended(self) -> bool:
        """Neither queued nor leased: a status of a newer server that we do not know is an end, too."""
        return self.status not in OPEN_STATUSES

    @property
    def succeeded(self) -> bool:
        """On every node; where the server tells no outcomes, by the status."""
        if self.outcomes:
            return {outcome for outcome, count in self.outcomes.items() if count} == {SUCCEEDED}
        return self.status == "finished"


class TaskAnswer(WireModel):
    """One task."""

    task: Task


class TaskList(WireModel):
    """Tasks, newest first."""

    tasks: Items[Task] = ()


class ResultAnswer(WireModel):
    """One node's result, as the stream of its output ends with it."""

    result: Result


class EndAnswer(WireModel):
    """The end of a target that has no result."""

    outcome: str = ""
    text: str = ""


class Output(WireModel):
    """A piece of live output: where it belongs among the bytes of its stream, and the bytes in base64."""

    stream: str = ""
    offset: Int = 0
    position: Int = 0
    data: str = ""


class Preview(WireModel):
    """What one node's policy would say of a task; limits in seconds and bytes."""

    node_id: str = ""
    verdict: str = ""
    text: str = ""
    level: str = ""
    timeout_sec: Int = 0
    output_limit: Int = 0
    online: bool = False


class PreviewAnswer(WireModel):
    """One for each node."""

    nodes: Items[Preview] = ()
