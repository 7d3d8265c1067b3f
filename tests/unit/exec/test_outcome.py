"""From wait status and what the agent did to kinds, texts and exit codes (protocol 3.7)."""

import pytest

from lattice_agent.exec.outcome import (
    Cause,
    Clock,
    Grace,
    Kind,
    Outcome,
    StreamCapture,
    Sweeping,
    Usage,
    error_text,
    exit_code,
    failed_to_start,
    judge,
    refused,
    signal_text,
)
from lattice_agent.exec.plan import Level, Limits, Refusal, RefusalKind

LIMITS = Limits(wall_s=30, output_bytes=4, cpu_s=35, processes=100)
WHOLE = StreamCapture(b"all", b"", 3)
CUT = StreamCapture(b"firs", b"t o", 12)


def ended(
    status: int | None,
    cause: Cause | None = None,
    stdout: StreamCapture = WHOLE,
    stderr: StreamCapture = WHOLE,
    cpu_s: float = 0.1,
) -> Outcome:
    usage = None if status is None else Usage(status, wall_s=1.5, cpu_s=cpu_s, max_rss_bytes=4096)
    return judge(
        Level.HOST, LIMITS, usage=usage, cause=cause, stdout=stdout, stderr=stderr, sweeping=Sweeping(killed=2)
    )


def exited(code: int) -> int:
    return code << 8


@pytest.mark.parametrize(
    ("outcome", "kind", "code", "error"),
    [
        (ended(exited(0)), Kind.EXITED, 0, ""),
        (ended(exited(3)), Kind.EXITED, 3, "exit status 3"),
        (ended(9), Kind.SIGNALLED, -1, "signal: killed"),
        (ended(15), Kind.SIGNALLED, -1, "signal: terminated"),
        (ended(24), Kind.SIGNALLED, -1, "signal: CPU time limit exceeded"),
        (ended(25), Kind.SIGNALLED, -1, "signal: file size limit exceeded"),
        (ended(6 | 0x80), Kind.SIGNALLED, -1, "signal: aborted (core dumped)"),
        (ended(40), Kind.SIGNALLED, -1, "signal: signal 40"),
        (ended(15, Cause.TIMEOUT), Kind.TIMED_OUT, -1, "context deadline exceeded"),
        (ended(exited(0), Cause.TIMEOUT), Kind.TIMED_OUT, -1, "context deadline exceeded"),
        (ended(None, Cause.TIMEOUT), Kind.TIMED_OUT, -1, "context deadline exceeded"),
        (ended(9, Cause.CANCELLED), Kind.CANCELLED, -1, "context canceled"),
        (
            ended(None, Cause.SUPERVISOR_GONE),
            Kind.INTERRUPTED,
            -1,
            "interrupted: the run's supervisor ended; whether the script completed is not known",
        ),
        (
            ended(9, Cause.SPAWNER_GONE),
            Kind.INTERRUPTED,
            -1,
            "interrupted: the spawner ended; whether the script completed is not known",
        ),
        (
            ended(9, Cause.CELL_KILLED),
            Kind.INTERRUPTED,
            -1,
            "interrupted: the run's cell was killed; whether the script completed is not known",
        ),
        (
            ended(None),
            Kind.INTERRUPTED,
            -1,
            "interrupted: the run's supervisor ended; whether the script completed is not known",
        ),
        (ended(9, Cause.MEMORY), Kind.MEMORY_LIMIT, -1, "signal: killed (memory limit exceeded: more than 512 MiB)"),
        (ended(None, Cause.MEMORY), Kind.MEMORY_LIMIT, -1, "signal: killed (memory limit exceeded: more than 512 MiB)"),
        (failed_to_start(Level.HOST, "exec /x: no"), Kind.FAILED_TO_START, -1, "exec /x: no"),
        (refused(Refusal(RefusalKind.ROOT, "not as root"), Level.HOST), Kind.REFUSED, -1, "not as root"),
        (
            ended(exited(0), stdout=CUT),
            Kind.OUTPUT_LIMIT,
            0,
            "stdout exceeded task output limit; output truncated",
        ),
        (
            ended(exited(3), stderr=CUT),
            Kind.OUTPUT_LIMIT,
            3,
            "exit status 3; stderr exceeded task output limit; output truncated",
        ),
        (
            ended(9, Cause.TIMEOUT, stdout=CUT, stderr=CUT),
            Kind.TIMED_OUT,
            -1,
            "context deadline exceeded; stdout and stderr exceeded task output limit; output truncated",
        ),
        (
            ended(9, stdout=CUT),
            Kind.SIGNALLED,
            -1,
            "signal: killed; stdout exceeded task output limit; output truncated",
        ),
    ],
)
def test_kind_exit_code_and_error_text(outcome: Outcome, kind: Kind, code: int, error: str) -> None:
    assert (outcome.kind, exit_code(outcome), error_text(outcome)) == (kind, code, error)


@pytest.mark.parametrize("status", [None, 9])
def test_what_came_of_asking_it_to_end_is_told(status: int | None) -> None:
    usage = None if status is None else Usage(status, wall_s=1.5, cpu_s=0.1, max_rss_bytes=4096)
    outcome = judge(
        Level.HOST,
        LIMITS,
        usage=usage,
        cause=Cause.CANCELLED,
        stdout=WHOLE,
        stderr=WHOLE,
        sweeping=Sweeping(),
        grace=Grace(2.5, expired=True),
    )
    assert (outcome.kind, outcome.grace_s, outcome.grace_expired) == (Kind.CANCELLED, 2.5, True)
    assert (ended(status).grace_s, ended(status).grace_expired) == (0.0, False)


def test_the_closed_set_of_kinds() -> None:
    assert {str(kind) for kind in Kind} == {
        *("exited", "signalled", "timed_out", "cancelled"),
        *("output_limit", "refused", "interrupted", "failed_to_start", "memory_limit"),
    }


@pytest.mark.parametrize(
    ("outcome", "clock"),
    [
        (ended(exited(0)), None),
        (ended(9, Cause.TIMEOUT), Clock.WALL),
        (ended(24), Clock.CPU),
        (ended(9, cpu_s=35.0), Clock.CPU),
        (ended(9, cpu_s=34.9), None),
        (ended(None, Cause.TIMEOUT), Clock.WALL),
        (ended(9, cpu_s=1.0), None),
        (ended(15, cpu_s=36.0), None),
    ],
)
def test_which_clock_fired(outcome: Outcome, clock: Clock | None) -> None:
    assert outcome.clock is clock


def test_the_values_that_were_seen_are_kept_whatever_the_kind() -> None:
    outcome = ended(exited(7), Cause.TIMEOUT)
    assert (outcome.exit_code, outcome.signal, outcome.wall_s, outcome.cpu_s) == (7, None, 1.5, 0.1)
    assert (outcome.max_rss_bytes, outcome.sweeping.killed, outcome.level) == (4096, 2, Level.HOST)
    assert (ended(11).signal, ended(11).exit_code) == (11, None)
    assert [ended(status).core_dumped for status in (6 | 0x80, 6, exited(6))] == [True, False, False]


def test_of_an_end_that_nobody_saw_is_told_what_was_seen_from_outside() -> None:
    seen = {"usage": None, "cause": Cause.TIMEOUT, "stdout": CUT, "stderr": WHOLE, "sweeping": Sweeping(lingering=1)}
    outcome = judge(Level.STRICT, LIMITS, **seen, wall_s=30.5, memory_peak=8192)  # type: ignore[arg-type]  # by name
    assert (outcome.wall_s, outcome.max_rss_bytes, outcome.level) == (30.5, 8192, Level.STRICT)
    assert (outcome.stdout, outcome.stderr, outcome.sweeping) == (CUT, WHOLE, Sweeping(lingering=1))
    assert (outcome.exit_code, outcome.signal, outcome.core_dumped, outcome.cpu_s) == (None, None, False, 0.0)


def test_a_run_that_never_was_used_nothing_and_wrote_nothing() -> None:
    outcome = refused(Refusal(RefusalKind.ROOT, "not as root"), Level.NETWORK)
    assert outcome.level is Level.NETWORK
    assert failed_to_start(Level.NETWORK, "why").level is Level.NETWORK
    used = (outcome.wall_s, outcome.cpu_s, outcome.grace_s, outcome.max_rss_bytes, outcome.core_dumped)
    assert used == (0, 0, 0, 0, False)
    for stream in (outcome.stdout, outcome.stderr):
        assert (stream.kept, stream.beyond, stream.produced) == (b"", b"", 0)
    sweeping = outcome.sweeping
    assert (sweeping.killed, sweeping.lingering, sweeping.uncertain) == (0, 0, False)
    assert (ended(exited(0)).message, ended(None).wall_s, ended(None).max_rss_bytes) == ("", 0, 0)


def test_dropped_bytes_are_those_beyond_the_kept_ones() -> None:
    assert (CUT.dropped, WHOLE.dropped) == (8, 0)


def test_go_words_for_signals() -> None:
    words = [signal_text(number) for number in range(1, 16)]
    assert words == [
        *("hangup", "interrupt", "quit", "illegal instruction", "trace/breakpoint trap", "aborted", "bus error"),
        *("floating point exception", "killed", "user defined signal 1", "segmentation fault"),
        *("user defined signal 2", "broken pipe", "alarm clock", "terminated"),
    ]
    assert {number: signal_text(number) for number in (16, 17, 24, 25, 26, 27, 29, 30, 31, 34)} == {
        16: "signal 16",
        17: "signal 17",
        24: "CPU time limit exceeded",
        25: "file size limit exceeded",
        26: "virtual timer expired",
        27: "profiling timer expired",
        29: "I/O possible",
        30: "power failure",
        31: "bad system call",
        34: "signal 34",
    }
