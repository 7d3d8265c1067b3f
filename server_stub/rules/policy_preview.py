"""What a node would say to a task, judged from the policy that it last told of (``lattice_agent.wire.policy``).

A summary cannot say everything: what policy grants a listed script is known to the node only. Where that could turn
the answer, the verdict is unknown. The node decides again when the task has come, and its word counts.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lattice_agent.wire.policy import PolicySummary
from server_stub.rules.script_header import HeaderError, asked_level
from server_stub.rules.task_limits import TaskOrder

_UNTOLD: Final = "the node's policy lists more scripts than it tells of"


class Verdict(StrEnum):
    RUNS = "runs"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Preview:
    """``timeout_sec`` and ``output_limit`` are what it would get; ``level`` is empty while it is not known."""

    verdict: Verdict
    text: str
    level: str
    timeout_sec: int
    output_limit: int


def preview(order: TaskOrder, script_sha256: str, policy: PolicySummary | None) -> Preview:
    """``policy`` is None while the node has told of none."""
    if policy is None:
        return _with_limits(order, PolicySummary(), Verdict.UNKNOWN, "the node has not told what it allows", "")
    try:
        asked = asked_level(order.script, order.interpreter)
    except HeaderError as error:
        return _with_limits(order, policy, Verdict.REFUSED, f"{error} (rule request)", "")
    level = asked or policy.default_level
    verdict, text = _judge(order, script_sha256, policy, asked)
    if verdict is Verdict.RUNS:
        return _with_limits(order, policy, verdict, f"runs at level {level}{_lowered(order, policy)}", level)
    return _with_limits(order, policy, verdict, text, level)


def _judge(order: TaskOrder, sha256: str, policy: PolicySummary, asked: str) -> tuple[Verdict, str]:
    if not policy.allow_exec:
        return Verdict.REFUSED, f"{policy.refusal or 'the node runs no tasks'} (rule exec_disabled)"
    if sha256 in policy.forbidden_scripts:
        return Verdict.REFUSED, "the node's policy forbids this script (rule script)"
    if sha256 in policy.ruled_scripts:
        return Verdict.UNKNOWN, "the node's policy has a rule of its own for this script"
    refusal, listed = _refusal(order, sha256, policy, asked), sha256 in policy.listed_scripts
    if not refusal and policy.lists_cut and not listed:
        return Verdict.UNKNOWN, f"{_UNTOLD}, and may forbid this one"
    if not refusal and asked in policy.uneven_levels:
        return Verdict.UNKNOWN, f"the node does not tell whether {order.interpreter} is there at level {asked}"
    if not refusal:
        return Verdict.RUNS, ""
    if listed:
        return Verdict.UNKNOWN, f"the node's policy lists this script; unless it grants more there: {refusal}"
    if policy.lists_cut:
        return Verdict.UNKNOWN, f"{_UNTOLD}; if this is none of them: {refusal}"
    return Verdict.REFUSED, refusal


def _refusal(order: TaskOrder, sha256: str, policy: PolicySummary, asked: str) -> str:
    """Why a script that is granted nothing would not run; empty if it would."""
    if policy.refusal:
        return policy.refusal
    if policy.only_listed_scripts and sha256 not in policy.listed_scripts:
        return "only listed scripts run, and this one is not among them (rule script)"
    if asked and asked not in policy.levels:
        return f"level {asked} cannot be asked for here (rule level)"
    if not asked and not policy.default_level:
        return "a script that asks for no level is refused here (rule level)"
    if order.interpreter not in policy.interpreters and asked not in policy.uneven_levels:
        return f"{order.interpreter} is not allowed or not there (rule interpreter)"
    return ""


def _with_limits(order: TaskOrder, policy: PolicySummary, verdict: Verdict, text: str, level: str) -> Preview:
    timeout = min(order.timeout_sec, policy.max_timeout_sec or order.timeout_sec)
    output = min(order.output_limit, policy.max_output_bytes or order.output_limit)
    return Preview(verdict, text, level, timeout, output)


def _lowered(order: TaskOrder, policy: PolicySummary) -> str:
    parts = []
    if 0 < policy.max_timeout_sec < order.timeout_sec:
        parts.append(f"for {policy.max_timeout_sec} s at most")
    if 0 < policy.max_output_bytes < order.output_limit:
        parts.append(f"with {policy.max_output_bytes} bytes of output at most")
    return "".join(f", {part}" for part in parts)
