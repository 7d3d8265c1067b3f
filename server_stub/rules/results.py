"""Whether a result is stored, and what its sender is told (protocol reference 2.4, in its order of checks).

Two answers differ from the reference. The same result again under the same lease is 200 and stored once (the
reference answers 403 or stores a second row). A result under the last lease of a target that was declared lost is
accepted: the work was done, and the status is put right.
"""

from dataclasses import dataclass
from datetime import datetime

from lattice_agent.wire.results import RunDetail
from server_stub.rules.states import Target, TargetState


@dataclass(frozen=True)
class Result:
    """What a node says became of a task; ``finished_at`` is the server's time when the node gave none."""

    task_id: str
    node_id: str
    lease_id: str
    exit_code: int
    stdout: str
    stderr: str
    error: str
    started_at: datetime | None
    finished_at: datetime
    detail: RunDetail | None = None
    """Of agents that speak ``results.detail``; not part of what makes two results the same."""

    @property
    def failed(self) -> bool:
        """Any error text or exit code other than 0 (protocol reference 2.5)."""
        return bool(self.error) or self.exit_code != 0


@dataclass(frozen=True)
class Verdict:
    """The answer to one result; ``stores`` only on the first acceptance."""

    status: int
    code: str = ""
    message: str = ""
    stores: bool = False


STORED = Verdict(200, stores=True)
DUPLICATE = Verdict(200)
INVALID_LEASE = Verdict(403, "invalid_task_lease", "invalid task lease")


def judge(result: Result, target: Target | None, output_limit: int, stored: Result | None) -> Verdict:
    """``target`` is the node's own (``None``: no such task here), ``stored`` the result it already has."""
    if target is None or not result.lease_id or result.lease_id != target.lease_id:
        return INVALID_LEASE
    if target.state is TargetState.REPORTED:
        return DUPLICATE if stored is not None and _same(result, stored) else INVALID_LEASE
    if target.state not in (TargetState.LEASED, TargetState.LOST):
        return INVALID_LEASE
    for field, text in (("stdout", result.stdout), ("stderr", result.stderr), ("error", result.error)):
        if _longer_than(text, output_limit):
            return Verdict(400, "task_output_limit_exceeded", f"{field} exceeds task output limit")
    return STORED


def _longer_than(text: str, limit: int) -> bool:
    """Whether the text takes more bytes of UTF-8; most texts are judged without being encoded."""
    if len(text) * 4 <= limit:
        return False
    return len(text) > limit or len(text.encode()) > limit


def _same(result: Result, stored: Result) -> bool:
    """Equal in everything the script produced. The times may be the server's own and don't count."""
    return (result.exit_code, result.stdout, result.stderr, result.error) == (
        stored.exit_code,
        stored.stdout,
        stored.stderr,
        stored.error,
    )
