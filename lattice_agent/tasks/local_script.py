"""Runs a script of the node's own configuration (such as ``-ip-script``) under the same rules as a task."""

import logging
from collections.abc import Callable
from itertools import count

from lattice_agent.errors import SandboxError, StateError
from lattice_agent.exec.outcome import Kind, error_text
from lattice_agent.exec.plan import Plan, Refusal, TaskRequest
from lattice_agent.tasks.execution import Executor
from lattice_agent.tasks.record import TaskAudit

log = logging.getLogger(__name__)


class LocalScript:
    """Gate, record, run; ``name`` is what log and audit call it."""

    def __init__(
        self, name: str, executor: Executor, decide: Callable[[TaskRequest], Plan | Refusal], audit: TaskAudit
    ) -> None:
        self._name = name
        self._executor = executor
        self._decide = decide
        self._audit = audit
        self._numbers = count(1)
        self._refusal = ""

    async def output(self, interpreter: str, script: str, timeout_s: int, output_limit: int) -> str | None:
        """What the script printed; None if it was refused, could not run or failed (which is logged)."""
        request = TaskRequest(
            task_id=f"{self._name}-{next(self._numbers)}",
            lease_id="local",
            interpreter=interpreter,
            script=script,
            timeout_sec=timeout_s,
            output_limit=output_limit,
        )
        decision = self._decide(request)
        if isinstance(decision, Refusal):
            self._say_refused(decision.reason)
            return None
        self._refusal = ""
        try:
            await self._audit.decision(request, decision)
            outcome = await self._executor.run(decision)
        except (StateError, SandboxError) as error:
            log.warning("%s: %s; %s", self._name, error, error.hint())
            return None
        await self._audit.outcome(request.task_id, outcome)
        if outcome.kind not in (Kind.EXITED, Kind.OUTPUT_LIMIT) or outcome.exit_code != 0:
            log.warning("%s: %s", self._name, error_text(outcome))
            return None
        return outcome.stdout.kept.decode("utf-8", "replace")

    def _say_refused(self, reason: str) -> None:
        if reason != self._refusal:
            self._refusal = reason
            log.warning("%s not run: %s", self._name, reason)
