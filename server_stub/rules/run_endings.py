"""How a run ended, from its result: with the node's details where there are some, else from the base wire."""

from typing import Final

from lattice_agent.wire.results import RunClock, RunDetail, RunOutcome
from server_stub.rules.base_endings import base_ending
from server_stub.rules.outcomes import Ending, TargetOutcome, ending
from server_stub.rules.results import Result

_NAMES: Final = {RunClock.QUEUED: "queued clock", RunClock.WALL: "wall clock", RunClock.CPU: "CPU clock"}


def ending_of(result: Result, timeout_sec: int, canceller: str = "") -> Ending:
    """``canceller`` is who asked for its end, if somebody did. A word that contradicts exit code and error does not
    count, and the rest of the details says nothing then; one that is not known is only shown of a run that failed."""
    from_base = base_ending(result.exit_code, result.error, timeout_sec, canceller)
    detail = result.detail
    if detail is None or not detail.outcome:
        return from_base
    if detail.outcome not in set(RunOutcome):
        if not result.failed:
            return from_base
        return ending(
            TargetOutcome.FAILED, f"failed: {detail.outcome}: {result.error or f'exit code {result.exit_code}'}"
        )
    outcome = RunOutcome(detail.outcome)
    if (outcome is RunOutcome.SUCCEEDED) == result.failed:
        return from_base
    text = _text(outcome, detail, result, timeout_sec, canceller) + _left(detail)
    return ending(TargetOutcome(outcome.value), text)


def _text(outcome: RunOutcome, detail: RunDetail, result: Result, timeout_sec: int, canceller: str) -> str:
    why = detail.reason or result.error
    match outcome:
        case RunOutcome.SUCCEEDED:
            return "succeeded"
        case RunOutcome.FAILED:
            return f"failed: {_how(detail, result)}"
        case RunOutcome.TIMED_OUT:
            return f"timed out: {_clock(detail, timeout_sec)}"
        case RunOutcome.CANCELLED:
            return _cancelled(detail, canceller)
        case RunOutcome.OUTPUT_LIMIT:
            return (
                f"output limit: {detail.stdout_bytes} bytes of stdout and {detail.stderr_bytes} of stderr; exit code 0"
            )
        case RunOutcome.MEMORY_LIMIT:
            return f"memory limit: {why}"
        case RunOutcome.REFUSED:
            return f"refused by the node: {why}" + (f" (rule {detail.rule})" if detail.rule else "")
        case RunOutcome.NOT_STARTED:
            return f"not started: {why}"
        case RunOutcome.INTERRUPTED:
            unknown = "" if "not known" in why else "; whether it completed is not known"
            return f"interrupted: {why.removeprefix('interrupted: ')}{unknown}"


def _how(detail: RunDetail, result: Result) -> str:
    if detail.signal:
        name = result.error.partition(";")[0].removeprefix("signal: ")
        return f"ended by signal {detail.signal}" + (f" ({name})" if name else "")
    return f"exit code {result.exit_code}" if result.exit_code >= 0 else detail.reason or result.error


def _clock(detail: RunDetail, timeout_sec: int) -> str:
    clock = detail.clock
    if clock == RunClock.CPU:
        return f"{_NAMES[RunClock.CPU]}, {seconds(detail.cpu_ms)} of CPU time"
    if clock == RunClock.QUEUED:
        return f"{_NAMES[RunClock.QUEUED]}, it waited {seconds(detail.queued_ms)} on the node"
    if clock != RunClock.WALL:
        return detail.reason or "the node did not say which clock"
    # The node's owner may have lowered what was asked for; then the run was shorter.
    lowered = 0 < detail.wall_ms < timeout_sec * 1_000
    return f"{_NAMES[RunClock.WALL]}, {seconds(detail.wall_ms if lowered else timeout_sec * 1_000)}"


def _cancelled(detail: RunDetail, canceller: str) -> str:
    by = f"cancelled by {canceller}" if canceller else "cancelled on the node"
    return f"{by} after {seconds(detail.wall_ms)}" if detail.wall_ms else f"{by} before it started"


def _left(detail: RunDetail) -> str:
    """What had to be done with the processes of the run."""
    parts = [f"killed after a grace of {seconds(detail.grace_ms)}"] if detail.grace_expired else []
    if detail.killed:
        parts.append(f"{detail.killed} process{'' if detail.killed == 1 else 'es'} killed")
    if detail.lingering:
        parts.append(f"{detail.lingering} left running on purpose")
    if detail.uncertain:
        parts.append("processes of it may be alive")
    return "".join(f"; {part}" for part in parts)


def seconds(milliseconds: int) -> str:
    """``2.1 s``; whole seconds without a fraction."""
    return f"{milliseconds / 1_000:.1f}".removesuffix(".0") + " s"
