"""What a task may ask for, checked before anything can be leased (protocol reference 2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server_stub.errors import Refused
from server_stub.rules.fan_out import NO_LIMITS, FanOut

INTERPRETERS: Final = ("sh", "bash", "python3", "node")
MAX_SCRIPT_BYTES: Final = 65_536
MAX_TIMEOUT_S: Final = 600
DEFAULT_TIMEOUT_S: Final = 30
MAX_OUTPUT_BYTES: Final = 262_144
DEFAULT_OUTPUT_BYTES: Final = 65_536
MAX_TARGETS: Final = 256
MAX_QUEUE_TIMEOUT_S: Final = 30 * 86_400


@dataclass(frozen=True)
class TaskOrder:
    """A valid request for a task: distinct targets, limits filled in."""

    nodes: tuple[str, ...]
    interpreter: str
    script: str
    timeout_sec: int
    output_limit: int
    fan_out: FanOut = NO_LIMITS
    queue_timeout_sec: int = 0
    rerun_of: str = ""
    """The task that this one does again."""


def check_order(
    nodes: Sequence[str],
    interpreter: str,
    script: str,
    timeout_sec: int,
    output_limit: int,
    fan_out: FanOut = NO_LIMITS,
    queue_timeout_sec: int = 0,
) -> TaskOrder:
    """The order with defaults filled in (``sh``, 30 s, 65,536 bytes); ``Refused`` 400, where the reference has a text
    with that one."""
    targets = tuple(dict.fromkeys(nodes))
    if not targets or not all(targets) or not script.strip():
        raise Refused(400, "targets and script are required")
    if len(targets) > MAX_TARGETS:
        raise Refused(400, f"targets must be at most {MAX_TARGETS}")
    interpreter = interpreter or "sh"
    if interpreter not in INTERPRETERS:
        raise Refused(400, f'interpreter "{interpreter}" is not allowlisted')
    timeout_sec = timeout_sec or DEFAULT_TIMEOUT_S
    if not 1 <= timeout_sec <= MAX_TIMEOUT_S:
        raise Refused(400, f"timeout_sec must be between 1 and {MAX_TIMEOUT_S}")
    output_limit = output_limit or DEFAULT_OUTPUT_BYTES
    if not 1 <= output_limit <= MAX_OUTPUT_BYTES:
        raise Refused(400, f"output_limit must be between 1 and {MAX_OUTPUT_BYTES}")
    if len(script.encode()) > MAX_SCRIPT_BYTES:
        raise Refused(400, f"script exceeds {MAX_SCRIPT_BYTES} bytes")
    bounds = (
        ("concurrency", fan_out.concurrency, MAX_TARGETS),
        ("max_failures", fan_out.max_failures, MAX_TARGETS),
        ("queue_timeout_sec", queue_timeout_sec, MAX_QUEUE_TIMEOUT_S),
    )
    for name, value, highest in bounds:
        if not 0 <= value <= highest:
            raise Refused(400, f"{name} must be between 0 and {highest}")
    return TaskOrder(targets, interpreter, script, timeout_sec, output_limit, fan_out, queue_timeout_sec)
