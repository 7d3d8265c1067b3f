"""How a run ended: one closed set of kinds, and the two things the base wire makes of it. Pure.

``judge`` turns what was seen (wait status, what the agent did, counts) into an ``Outcome``; ``error_text`` and
``exit_code`` give the Go agent's texts and numbers (protocol 3.7).
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from lattice_agent.exec.plan import MIB, Level, Limits, Refusal

SIGNAL_TEXTS: Final[Mapping[int, str]] = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
    signal.SIGXCPU: "CPU time limit exceeded",
    signal.SIGXFSZ: "file size limit exceeded",
    signal.SIGVTALRM: "virtual timer expired",
    signal.SIGPROF: "profiling timer expired",
    signal.SIGIO: "I/O possible",
    signal.SIGPWR: "power failure",
    signal.SIGSYS: "bad system call",
}
"""Signals that end a process by default, in the words operators know from the Go agent; others are ``signal N``."""


class Kind(StrEnum):
    """The closed set. A new member is a change of the interface."""

    EXITED = "exited"
    """The main process ended by itself with ``exit_code``; both streams were kept whole."""
    OUTPUT_LIMIT = "output_limit"
    """As EXITED, but at least one stream was cut."""
    SIGNALLED = "signalled"
    """The main process was ended by ``signal``, which the agent did not send."""
    TIMED_OUT = "timed_out"
    """The wall clock fired."""
    CANCELLED = "cancelled"
    """The caller ended the run."""
    REFUSED = "refused"
    """It was not allowed; nothing ran."""
    FAILED_TO_START = "failed_to_start"
    """It was allowed, but the interpreter could not be executed; nothing ran."""
    MEMORY_LIMIT = "memory_limit"
    """It was killed, with everything it had started, for using more memory than it may."""
    INTERRUPTED = "interrupted"
    """A process of ours ended under it; whether the script completed is not known."""


class Clock(StrEnum):
    """Which clock ended the run."""

    WALL = "wall"
    CPU = "cpu"


class Cause(StrEnum):
    """Why the agent ended a run that had not ended by itself."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    MEMORY = "memory limit"
    SPAWNER_GONE = "the spawner ended"
    CELL_KILLED = "the run's cell was killed"
    SUPERVISOR_GONE = "the run's supervisor ended"


@dataclass(frozen=True)
class StreamCapture:
    """One output stream: the first bytes, and how many there were.

    ``kept`` never exceeds the run's limit; ``beyond`` holds up to three bytes that follow it, with which a character
    that the limit cuts in two can be told from an invalid one.
    """

    kept: bytes = b""
    beyond: bytes = b""
    produced: int = 0

    @property
    def dropped(self) -> int:
        """Bytes that were produced and not kept."""
        return self.produced - len(self.kept)


@dataclass(frozen=True)
class Usage:
    """How the main process ended, as its supervisor saw it."""

    status: int
    """As wait(2) gives it."""
    wall_s: float
    cpu_s: float
    """Of the main process and of the children it waited for."""
    max_rss_bytes: int
    """Largest resident size of one of those processes."""


@dataclass(frozen=True)
class Sweeping:
    """What was done with the processes that the main one left."""

    killed: int = 0
    lingering: int = 0
    """Left the main session on purpose and were spared for now; killed when their time is over."""
    uncertain: bool = False
    """The sweep hit its bound: processes of the run may be alive."""


@dataclass(frozen=True)
class Grace:
    """What came of asking a run to end (SIGTERM)."""

    seconds: float = 0.0
    """Until its last process was gone."""
    expired: bool = False
    """It was killed."""


NO_GRACE: Final = Grace()
"""It was not asked."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended and what it used."""

    kind: Kind
    level: Level
    exit_code: int | None = None
    """Of the main process if it exited, whatever the kind."""
    signal: int | None = None
    """That ended the main process, whoever sent it."""
    core_dumped: bool = False
    clock: Clock | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    grace_s: float = 0.0
    """From SIGTERM to the end of the last process; 0 if the agent sent none."""
    grace_expired: bool = False
    """SIGTERM was not enough: something of it had to be killed."""
    max_rss_bytes: int = 0
    """Largest seen: of one process, or of the whole cell where that was watched."""
    stdout: StreamCapture = field(default_factory=StreamCapture)
    stderr: StreamCapture = field(default_factory=StreamCapture)
    sweeping: Sweeping = field(default_factory=Sweeping)
    message: str = ""
    """For REFUSED, FAILED_TO_START, MEMORY_LIMIT and INTERRUPTED: why."""


def refused(refusal: Refusal, level: Level) -> Outcome:
    """The outcome of a task that a gate stopped."""
    return Outcome(Kind.REFUSED, level, message=refusal.reason)


def failed_to_start(level: Level, message: str) -> Outcome:
    """The outcome of a run that did not come to be; ``message`` is the operating system's."""
    return Outcome(Kind.FAILED_TO_START, level, message=message)


def judge(
    level: Level,
    limits: Limits,
    *,
    usage: Usage | None,
    cause: Cause | None,
    stdout: StreamCapture,
    stderr: StreamCapture,
    sweeping: Sweeping,
    grace: Grace = NO_GRACE,
    wall_s: float = 0.0,
    memory_peak: int = 0,
) -> Outcome:
    """The outcome of a run that was started. ``usage`` is None when nobody saw its main process end.

    ``wall_s`` and ``memory_peak`` (bytes) are what was seen from outside, for that case.
    """
    number = os.WTERMSIG(usage.status) if usage and os.WIFSIGNALED(usage.status) else None
    kind = _kind(cause, number, cut=bool(stdout.dropped or stderr.dropped)) if usage else _kind_unseen(cause)
    outcome = Outcome(
        kind,
        level,
        clock=_clock(kind, number, usage.cpu_s if usage else 0.0, limits),
        wall_s=wall_s,
        grace_s=grace.seconds,
        grace_expired=grace.expired,
        max_rss_bytes=memory_peak,
        stdout=stdout,
        stderr=stderr,
        sweeping=sweeping,
        message=_message(kind, cause, limits),
    )
    return outcome if usage is None else _with_usage(outcome, usage, number)


def _with_usage(outcome: Outcome, usage: Usage, number: int | None) -> Outcome:
    return replace(
        outcome,
        exit_code=None if number is not None else os.WEXITSTATUS(usage.status),
        signal=number,
        core_dumped=number is not None and os.WCOREDUMP(usage.status),
        wall_s=usage.wall_s,
        cpu_s=usage.cpu_s,
        max_rss_bytes=usage.max_rss_bytes,
    )


def exit_code(outcome: Outcome) -> int:
    """``exit_code`` on the base wire: -1 for everything but a process that exited by itself."""
    by_itself = outcome.kind in (Kind.EXITED, Kind.OUTPUT_LIMIT)
    return outcome.exit_code if by_itself and outcome.exit_code is not None else -1


def error_text(outcome: Outcome) -> str:
    """``error`` on the base wire, without any limit on its length; empty for success."""
    return "; ".join(text for text in (_ending_text(outcome), _cut_text(outcome)) if text)


def signal_text(number: int) -> str:
    """A signal in the words of the Go agent."""
    return SIGNAL_TEXTS.get(number, f"signal {number}")


def _message(kind: Kind, cause: Cause | None, limits: Limits) -> str:
    match kind:
        case Kind.INTERRUPTED:
            return str(cause or Cause.SUPERVISOR_GONE)
        case Kind.MEMORY_LIMIT:
            return f"more than {limits.memory_bytes // MIB} MiB"
        case _:
            return ""


def _kind_unseen(cause: Cause | None) -> Kind:
    match cause:
        case Cause.TIMEOUT:
            return Kind.TIMED_OUT
        case Cause.CANCELLED:
            return Kind.CANCELLED
        case Cause.MEMORY:
            return Kind.MEMORY_LIMIT
        case _:
            return Kind.INTERRUPTED


def _kind(cause: Cause | None, number: int | None, *, cut: bool) -> Kind:
    if cause is not None:
        return _kind_unseen(cause)
    if number is not None:
        return Kind.SIGNALLED
    return Kind.OUTPUT_LIMIT if cut else Kind.EXITED


def _clock(kind: Kind, number: int | None, cpu_s: float, limits: Limits) -> Clock | None:
    if kind is Kind.TIMED_OUT:
        return Clock.WALL
    if kind is Kind.SIGNALLED and (number == signal.SIGXCPU or (number == signal.SIGKILL and cpu_s >= limits.cpu_s)):
        return Clock.CPU
    return None


def _ending_text(outcome: Outcome) -> str:
    match outcome.kind:
        case Kind.TIMED_OUT:
            return "context deadline exceeded"
        case Kind.CANCELLED:
            return "context canceled"
        case Kind.REFUSED | Kind.FAILED_TO_START:
            return outcome.message
        case Kind.MEMORY_LIMIT:
            return f"signal: killed (memory limit exceeded: {outcome.message})"
        case Kind.INTERRUPTED:
            return f"interrupted: {outcome.message}; whether the script completed is not known"
        case Kind.SIGNALLED if outcome.signal is not None:
            return f"signal: {signal_text(outcome.signal)}" + (" (core dumped)" if outcome.core_dumped else "")
        case _:
            return f"exit status {outcome.exit_code}" if outcome.exit_code else ""


def _cut_text(outcome: Outcome) -> str:
    cut = [name for name, stream in (("stdout", outcome.stdout), ("stderr", outcome.stderr)) if stream.dropped]
    return f"{' and '.join(cut)} exceeded task output limit; output truncated" if cut else ""
