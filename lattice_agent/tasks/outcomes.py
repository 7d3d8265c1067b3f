"""From what the sandbox says to what the wire and the audit say. Pure."""

from dataclasses import replace
from datetime import datetime

from lattice_agent.exec.outcome import Outcome, StreamCapture, error_text, exit_code
from lattice_agent.tasks.shape import RawResult


def raw_result(outcome: Outcome, started_at: datetime, finished_at: datetime) -> RawResult:
    """The result before it is given the server's form; ``shape`` adds the truncation texts, since it cuts too."""
    ending = error_text(replace(outcome, stdout=StreamCapture(), stderr=StreamCapture()))
    return RawResult(
        exit_code=exit_code(outcome),
        stdout=outcome.stdout.kept + outcome.stdout.beyond,
        stderr=outcome.stderr.kept + outcome.stderr.beyond,
        stdout_dropped=outcome.stdout.dropped,
        stderr_dropped=outcome.stderr.dropped,
        error=ending,
        started_at=started_at,
        finished_at=finished_at,
    )


def audit_fields(outcome: Outcome) -> dict[str, str | int | bool | None]:
    """What is recorded of a run: how it ended and what was done, never what it printed."""
    return {
        "kind": outcome.kind.value,
        "level": outcome.level.value,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "clock": outcome.clock.value if outcome.clock else None,
        "wall_ms": int(outcome.wall_s * 1000),
        "cpu_ms": int(outcome.cpu_s * 1000),
        "max_rss_bytes": outcome.max_rss_bytes,
        "stdout_bytes": outcome.stdout.produced,
        "stderr_bytes": outcome.stderr.produced,
        "killed": outcome.sweeping.killed,
        "lingering": outcome.sweeping.lingering,
        "uncertain": outcome.sweeping.uncertain,
    }
