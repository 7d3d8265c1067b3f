"""What ``lattice-agent exec`` makes of an outcome: exit code, notes for humans, one JSON object for programs.

And of the steps that ``--explain`` tells. Pure.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lattice_agent.exec.outcome import Kind, Outcome, StreamCapture, error_text, signal_text
from lattice_agent.exec.plan import Plan

if TYPE_CHECKING:
    from lattice_agent.exec.explain import ExplainedStep  # it loads what only --explain needs

SIGNALLED: Final = 128
TIMED_OUT: Final = 124
SANDBOX_FAILED: Final = 125
NOT_STARTED: Final = 126
KILLED: Final = 137
INTERRUPTED: Final = 130
READER_GONE: Final = 141
"""As a shell reports SIGPIPE."""
EXIT_CODES: Final = f"""\
Exit codes, besides those of the script:
  128+N\tsignal N ended it
  {TIMED_OUT}\tits time was up
  {KILLED}\tit used more memory than it may
  {INTERRUPTED}\tyou interrupted it
  {READER_GONE}\tnobody reads its output any more
  {SANDBOX_FAILED}\tthe sandbox failed
  {NOT_STARTED}\tit was not started: refused, unreadable, no such interpreter, or the host does not reach the level
  2\tthis command line makes no sense
With --json the field kind tells these from a script's own codes.
"""
FIELDS: Final = """\
Fields of --json (null where they do not apply):
  kind\texited, output_limit, signalled, timed_out, memory_limit, failed_to_start, interrupted
  level\tin force
  exit_code, signal, core_dumped\tof the script's main process
  clock\twhich ended it: wall or cpu
  wall_s, cpu_s, max_rss_bytes\tseconds; bytes of memory, the largest seen
  grace_s, grace_expired\tfrom SIGTERM to its end, 0 if none was sent; true: it had to be killed
  stdout, stderr\ttext (what is not UTF-8 replaced), base64 (of the bytes, only if they are not UTF-8), \
kept and produced (bytes)
  processes_killed\tthat it left; uncertain: some may be alive
  error\tone sentence, empty for success
"""


def command_code(outcome: Outcome) -> int:
    """The exit code of the command."""
    match outcome.kind:
        case Kind.EXITED | Kind.OUTPUT_LIMIT:
            return outcome.exit_code or 0
        case Kind.SIGNALLED:
            return SIGNALLED + (outcome.signal or 0)
        case Kind.TIMED_OUT:
            return TIMED_OUT
        case Kind.MEMORY_LIMIT:
            return KILLED
        case Kind.CANCELLED:
            return INTERRUPTED
        case Kind.REFUSED | Kind.FAILED_TO_START:
            return NOT_STARTED
        case Kind.INTERRUPTED:
            return SANDBOX_FAILED


def notes(outcome: Outcome) -> Iterator[str]:
    """What the script's own output does not say."""
    match outcome.kind:
        case Kind.SIGNALLED:
            yield f"ended by signal {outcome.signal}: {signal_text(outcome.signal or 0)}"
        case Kind.TIMED_OUT:
            yield f"ended after {outcome.wall_s:.3g} s: its time was up (--timeout){_grace_note(outcome)}"
        case Kind.CANCELLED:
            yield f"interrupted after {outcome.wall_s:.3g} s{_grace_note(outcome)}"
        case Kind.MEMORY_LIMIT:
            yield f"ended: it used {outcome.message or 'too much memory'} (--memory)"
        case Kind.REFUSED | Kind.FAILED_TO_START:
            yield f"not started: {outcome.message}; lattice-agent doctor says what this host lacks"
        case Kind.INTERRUPTED:
            yield error_text(outcome)
    for name, stream in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if stream.dropped:
            yield f"{name} is cut: {len(stream.kept)} of {stream.produced} bytes (--output-limit)"
    if outcome.sweeping.uncertain:
        yield "some of its processes may be alive"


def _grace_note(outcome: Outcome) -> str:
    if not outcome.grace_expired:
        return ""
    killed = outcome.sweeping.killed
    others = f", with {killed} other process{'' if killed == 1 else 'es'}" if killed else ""
    return f"; it did not end when asked and was killed {outcome.grace_s:.3g} s later{others}"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """FIELDS says what they mean."""
    return {
        "kind": outcome.kind.value,
        "level": outcome.level.value,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "core_dumped": outcome.core_dumped,
        "clock": outcome.clock.value if outcome.clock else None,
        "wall_s": round(outcome.wall_s, 6),
        "cpu_s": round(outcome.cpu_s, 6),
        "grace_s": round(outcome.grace_s, 6),
        "grace_expired": outcome.grace_expired,
        "max_rss_bytes": outcome.max_rss_bytes,
        "stdout": _stream(outcome.stdout),
        "stderr": _stream(outcome.stderr),
        "processes_killed": outcome.sweeping.killed,
        "uncertain": outcome.sweeping.uncertain,
        "error": error_text(outcome),
    }


def _stream(stream: StreamCapture) -> dict[str, Any]:
    text = stream.kept.decode("utf-8", "replace")
    exact = text.encode() == stream.kept
    return {
        "text": text,
        "base64": None if exact else base64.b64encode(stream.kept).decode(),
        "kept": len(stream.kept),
        "produced": stream.produced,
    }


# --- what would be done ---


def explanation(plan: Plan, steps: Sequence["ExplainedStep"], limits: Mapping[str, str]) -> dict[str, Any]:
    """What ``--explain`` says, as plain values."""
    return {
        "level": plan.level.value,
        "interpreter": plan.interpreter_path,
        "steps": [{"name": s.name, "what": s.what, "why": s.why, "once_per_profile": s.once} for s in steps],
        "limits": dict(limits),
    }


def explanation_text(plan: Plan, steps: Sequence["ExplainedStep"], limits: Mapping[str, str]) -> str:
    """The same for humans."""
    lines = [f"level {plan.level}, {plan.interpreter_path}", *([] if steps else ["", *_NO_CELL])]
    for title, once in (("Once for all cells of this kind", True), ("For each cell", False)):
        chosen = [step for step in steps if step.once is once]
        lines += ["", f"{title}:"] if chosen else []
        for number, step in enumerate(chosen, 1):
            lines += [f"{number:3}. {step.name}: {step.what}", f"     why: {step.why}"]
    return "\n".join([*lines, "", "Limits:", *(f"     {name}: {value}" for name, value in limits.items())])


_NO_CELL: Final = (
    "There is no cell at level host: resource limits, no_new_privs, a session of its own, and a supervisor that ends",
    "what the script leaves. The script has your uid and sees what you see.",
)
