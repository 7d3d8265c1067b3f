"""Gives a result the form that the server can store. Pure.

The server counts bytes of UTF-8 *after* decoding, against the task's output limit, for ``stdout``, ``stderr`` and
``error`` each, and the *encoded* body against 1 MiB (protocol reference 2.4). A result that breaks either can never
be stored, and its task would come back for ever; so whatever the script printed, what leaves here fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lattice_agent.wire.base import BODY_LIMIT, encode
from lattice_agent.wire.results import ResultReport, RunDetail, RunOutcome, TaskResult

BODY_MARGIN: Final = 16 * 1024
"""Kept free below the body limit for the lease id, node id and framing, whatever their length."""
RESULT_BOUND: Final = BODY_LIMIT - BODY_MARGIN
DEFAULT_OUTPUT_LIMIT: Final = 65_536
MAX_OUTPUT_LIMIT: Final = 262_144
TRUNCATED: Final = "exceeded task output limit; output truncated"
LOST: Final = "lost: the task ran, but its result was dropped to keep the agent's store within its bound"
CANCELLED: Final = "context canceled: cancelled by the control plane"
"""The Go agent's words, and who it was."""
CANCELLED_WAITING: Final = "cancelled by the control plane before it started"
INTERRUPTED: Final = "interrupted: the agent ended while the task ran; whether it completed is not known"


def effective_output_limit(output_limit: int) -> int:
    """Bytes per stream for a task's ``output_limit`` (protocol reference 3.2)."""
    if output_limit <= 0:
        return DEFAULT_OUTPUT_LIMIT
    return min(output_limit, MAX_OUTPUT_LIMIT)


def decode_stream(raw: bytes, limit: int) -> tuple[str, bool]:
    """Text of at most ``limit`` UTF-8 bytes, cut on a character boundary, and whether anything was cut.

    Invalid bytes become U+FFFD (3 bytes) before the cut, because that is how the server counts them.
    """
    return cut(raw.decode("utf-8", "replace"), limit)


def cut(text: str, limit: int) -> tuple[str, bool]:
    """``text`` without what exceeds ``limit`` UTF-8 bytes, on a character boundary; and whether it was cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode(), False
    return encoded[:limit].decode("utf-8", "ignore"), True


@dataclass(frozen=True)
class RawResult:
    """What a run gave: raw kept bytes of the streams, and how many bytes beyond the kept ones were dropped."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    stdout_dropped: int
    stderr_dropped: int
    error: str
    started_at: datetime
    finished_at: datetime
    detail: RunDetail | None = None


def shape(task_id: str, node_id: str, raw: RawResult, output_limit: int) -> TaskResult:
    """The result in wire form, without its lease id, acceptable to the server."""
    limit = effective_output_limit(output_limit)
    stdout, cut_out = decode_stream(raw.stdout, limit)
    stderr, cut_err = decode_stream(raw.stderr, limit)

    def build(stdout: str, stderr: str, cut_out: bool, cut_err: bool) -> TaskResult:
        return TaskResult(
            task_id=task_id,
            node_id=node_id,
            exit_code=raw.exit_code,
            stdout=stdout,
            stderr=stderr,
            error=_error_text(raw.error, cut_out, cut_err, limit),
            started_at=raw.started_at,
            finished_at=raw.finished_at,
            detail=_cut_detail(raw.detail, is_cut=cut_out or cut_err),
        )

    cut_out = cut_out or raw.stdout_dropped > 0
    cut_err = cut_err or raw.stderr_dropped > 0
    result = build(stdout, stderr, cut_out, cut_err)
    if encoded_size(result) <= RESULT_BOUND:
        return result
    # Escapes (a control character is six bytes) made the body too large: share what there is between the streams.
    room = RESULT_BOUND - encoded_size(build("", "", True, True))
    stdout, stderr, cut_out_again, cut_err_again = _share(stdout, stderr, room)
    return build(stdout, stderr, cut_out or cut_out_again, cut_err or cut_err_again)


def shrink(result: TaskResult, times: int, output_limit: int) -> TaskResult | None:
    """A smaller form after a 400, or None when even empty streams were refused.

    First half the streams (the server may count a stricter limit than the lease said), then none at all.
    """
    limit = effective_output_limit(output_limit)
    if times == 0 and (result.stdout or result.stderr):
        stdout, cut_out = cut(result.stdout, len(result.stdout.encode()) // 2)
        stderr, cut_err = cut(result.stderr, len(result.stderr.encode()) // 2)
    elif times <= 1:
        stdout, cut_out = "", bool(result.stdout)
        stderr, cut_err = "", bool(result.stderr)
    else:
        return None
    error = result.error if TRUNCATED in result.error else _error_text(result.error, cut_out, cut_err, limit)
    if times > 0:
        # The server refused a result that fits the limit of its lease: its own limit must be smaller.
        error, _ = cut(error, limit // 2)
    detail = _cut_detail(result.detail, is_cut=cut_out or cut_err)
    return result.model_copy(update={"stdout": stdout, "stderr": stderr, "error": error, "detail": detail})


def without_output(task_id: str, node_id: str, error: str, output_limit: int, at: datetime) -> TaskResult:
    """The result of a task that has nothing but a reason: refused, interrupted, lost."""
    text, _ = cut(error, effective_output_limit(output_limit))
    return TaskResult(task_id=task_id, node_id=node_id, exit_code=-1, error=text, started_at=at, finished_at=at)


def encoded_size(result: TaskResult) -> int:
    """Bytes of the request body that would carry this result."""
    return len(encode(ResultReport(node_id=result.node_id, result=result)))


def _error_text(error: str, cut_out: bool, cut_err: bool, limit: int) -> str:
    streams = " and ".join(name for name, was_cut in (("stdout", cut_out), ("stderr", cut_err)) if was_cut)
    parts = [part for part in (error, f"{streams} {TRUNCATED}" if streams else "") if part]
    text, _ = cut("; ".join(parts), limit)
    return text


def _cut_detail(detail: RunDetail | None, *, is_cut: bool) -> RunDetail | None:
    """A success of which not all output is there is told as OUTPUT_LIMIT, whoever cut it."""
    if detail is None or not is_cut or detail.outcome != RunOutcome.SUCCEEDED:
        return detail
    return detail.model_copy(update={"outcome": RunOutcome.OUTPUT_LIMIT.value})


def _share(stdout: str, stderr: str, room: int) -> tuple[str, str, bool, bool]:
    """Both streams cut so that their encoded forms fit ``room`` together; a short one leaves its share to the other."""
    size_out, size_err = _escaped_size(stdout), _escaped_size(stderr)
    half = room // 2
    share_out = max(half, room - size_err)
    share_err = max(half, room - size_out)
    short_out = _longest_prefix(stdout, lambda text: _escaped_size(text) <= share_out)
    short_err = _longest_prefix(stderr, lambda text: _escaped_size(text) <= share_err)
    return short_out, short_err, short_out != stdout, short_err != stderr


def _escaped_size(text: str) -> int:
    return len(encode(TaskResult(stdout=text))) - len(encode(TaskResult()))


def _longest_prefix(text: str, fits: Callable[[str], bool]) -> str:
    """The longest prefix that fits, by bisection: the size grows with the length."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[:middle]):
            low = middle
        else:
            high = middle - 1
    return text[:low]
