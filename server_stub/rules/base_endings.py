"""How a run ended, read from the base wire alone (protocol reference 3.1, 3.7): agents that send no details.

Our own agent puts more into these texts than the Go agent (``lattice_agent.tasks.shape``, ``exec.outcome``); both are
read here. A text that is not known is a failure, told as it is.
"""

import re
from typing import Final

from server_stub.rules.outcomes import Ending, TargetOutcome, ending

_CUT: Final = re.compile(
    r"(?:(?P<before>.*); )?(?P<streams>stdout|stderr|stdout and stderr) exceeded task output limit; output truncated",
    re.DOTALL,
)
_EXIT: Final = re.compile(r"exit status (-?\d{1,10})")
_NOT_STARTED: Final = re.compile(r"(fork/exec|exec|mkdir|open|write|chmod|chown|cgroup)\b.*", re.DOTALL)
"""Go's errors of files and processes begin with the call that failed."""
_REFUSALS: Final = (
    ("agent task execution disabled", "exec_disabled"),
    ("refusing to execute task as root", "root"),
    ("interpreter is not allowlisted", "interpreter"),
    ("interpreter not found", "interpreter_missing"),
    ("refusing to replace this agent", "agent_replacement"),
    ("script header (line ", "request"),
    ("script has ", "request"),
    ("script is not valid Unicode", "request"),
    ("only scripts that this node's policy lists", "script"),
    ("this node's policy forbids this script", "script"),
    ("this node's policy lists this script", "script"),
    ("this node's policy demands level ", "level"),
    ("this node does not reach level ", "level"),
    ("the script asks for level ", "level"),
    ("level ", "level"),
    ("scripts would keep the agent's supplementary groups", "level"),
)
"""How they begin, and the rule in the words of our agent's policy."""
_BEGINNINGS: Final = (
    ("context deadline exceeded", TargetOutcome.TIMED_OUT),
    ("context canceled", TargetOutcome.CANCELLED),
    ("cancelled by the control plane", TargetOutcome.CANCELLED),
    ("signal: CPU time limit exceeded", TargetOutcome.TIMED_OUT),
    ("signal: killed (memory limit exceeded", TargetOutcome.MEMORY_LIMIT),
    ("signal: ", TargetOutcome.FAILED),
    ("interrupted: ", TargetOutcome.INTERRUPTED),
    ("lost: ", TargetOutcome.LOST),
)


def base_ending(exit_code: int, error: str, timeout_sec: int, canceller: str) -> Ending:
    """``canceller`` is who asked for its end, if somebody did."""
    cut = _CUT.fullmatch(error)
    why = (cut["before"] or "") if cut else error
    if (found := _EXIT.fullmatch(why)) or (not why and exit_code):
        return ending(TargetOutcome.FAILED, f"failed: exit code {found[1] if found else exit_code}")
    if not why:
        if cut:
            return ending(TargetOutcome.OUTPUT_LIMIT, f"output limit: {cut['streams']} cut; exit code 0")
        return Ending(TargetOutcome.SUCCEEDED, "succeeded")
    outcome = next((outcome for start, outcome in _BEGINNINGS if why.startswith(start)), None)
    if outcome is not None:
        return ending(outcome, _text(outcome, why, timeout_sec, canceller))
    rule = next((rule for start, rule in _REFUSALS if why.startswith(start)), "")
    if rule:
        return ending(TargetOutcome.REFUSED, f"refused by the node: {why} (rule {rule})")
    if exit_code == -1 and _NOT_STARTED.fullmatch(why):
        return ending(TargetOutcome.NOT_STARTED, f"not started: {why}")
    return ending(TargetOutcome.FAILED, f"failed: {why}")


def _text(outcome: TargetOutcome, why: str, timeout_sec: int, canceller: str) -> str:
    match outcome:
        case TargetOutcome.TIMED_OUT if why.startswith("signal: "):
            return "timed out: CPU clock"
        case TargetOutcome.TIMED_OUT:
            return f"timed out: wall clock, {timeout_sec} s"
        case TargetOutcome.CANCELLED:
            return f"cancelled by {canceller}" if canceller else "cancelled on the node"
        case TargetOutcome.MEMORY_LIMIT:
            return f"memory limit: {why.removeprefix('signal: killed (memory limit exceeded').strip(':() ')}"
        case TargetOutcome.FAILED:
            return f"failed: ended by a signal: {why.removeprefix('signal: ')}"
        case _:
            return why  # it begins with the word itself
