"""How an agent treats a control plane that does not answer well: what it asks next on a path comes late enough.

Bounds, each from the code that it holds to account:

- after a failure the next request of a path comes no sooner than half the base of its back-off (``link.backoff``),
  after 401 no sooner than half a minute (``link.patience``), and not before the time that ``Retry-After`` names;
- with FAILED_LONG failures in a row a path sees no more than ``WINDOW_MOST`` requests in a minute: its ceiling is then
  at 16 s at least (or at its cap of 10 s for hello and heartbeat), half of which is the mean delay.

A result that fails alone (5xx) does not hold up the others, so that for results only those answers count that say
nobody can be asked: 401 and 429.
"""

from collections import deque
from dataclasses import dataclass, field

import trio

from tests.sim.trace import Trace

BASE_S = {
    "/api/agent/tasks": 1.0,
    "/api/agent/metrics": 1.0,
    "/api/agent/hello": 1.0,
    "/api/agent/config": 2.0,
    "/api/agent/proxy-usage": 2.0,
    "/api/agent/usage-ledger": 2.0,
    "results": 0.5,
}
UNAUTHORIZED_BASE_S = 60.0
LONGEST_WISH_S = 900.0
WINDOW_S, WINDOW_MOST = 60.0, 25
FAILED_LONG = 6
SLACK_S = 0.001


@dataclass
class _Path:
    not_before_s: float = 0.0
    why: str = ""
    failures: int = 0
    asked: deque[float] = field(default_factory=deque)


class PatienceCheck:
    """Of one life of one agent."""

    def __init__(self, node: str, trace: Trace) -> None:
        self._node = node
        self._trace = trace
        self._paths: dict[str, _Path] = {}

    def asked(self, path: str) -> None:
        """A request goes out."""
        known, now = self._of(path), trio.current_time()
        if now < known.not_before_s - SLACK_S:
            early = known.not_before_s - now
            self._trace.violated("back-off", f"{self._node} asks {path} {early:.3f} s too early after {known.why}")
        known.asked.append(now)
        while known.asked[0] < now - WINDOW_S:
            known.asked.popleft()
        if known.failures >= FAILED_LONG + len(known.asked) and len(known.asked) > WINDOW_MOST:
            self._trace.violated(
                "back-off", f"{self._node} asks {path} {len(known.asked)} times in a minute of trouble"
            )

    def answered(self, path: str, status: int | None, retry_after_s: float) -> None:
        """How it went; None: no answer that can be used."""
        known, base_s = self._of(path), BASE_S.get(_group(path))
        if base_s is None:
            return
        if status is not None and 200 <= status < 300:
            known.failures, known.not_before_s = 0, 0.0
            return
        known.failures += 1
        if _group(path) == "results" and status not in (401, 429):
            return
        floor_s = UNAUTHORIZED_BASE_S / 2 if status == 401 else base_s / 2
        known.not_before_s = trio.current_time() + max(floor_s, min(retry_after_s, LONGEST_WISH_S))
        known.why = f"{status or 'no answer'}{f', Retry-After {retry_after_s:g}' if retry_after_s else ''}"

    def _of(self, path: str) -> _Path:
        return self._paths.setdefault(_group(path), _Path())


def _group(path: str) -> str:
    return "results" if "/task-result" in path else path
