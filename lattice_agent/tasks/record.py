"""Writes the local audit of tasks: what was asked, by whom, what was decided and done."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from lattice_agent.audit import SYNCED_EVENT, AuditLog, Field, script_sha256
from lattice_agent.errors import StateError
from lattice_agent.exec.outcome import Outcome
from lattice_agent.exec.plan import Plan, Refusal, TaskRequest
from lattice_agent.exec.supervision import LingerEnd
from lattice_agent.tasks.outcomes import EndedBy, audit_fields

log = logging.getLogger(__name__)


class TaskAudit:
    """The audit as the lease loop uses it.

    ``decision`` raises StateError: a task whose record cannot be written does not start. What comes after the start
    is logged when it cannot be written, because the result must go on its way all the same.
    """

    def __init__(self, audit: AuditLog, control_plane: str, run_sync: Callable[..., Any]) -> None:
        self._audit = audit
        self._control_plane = control_plane
        self._run_sync = run_sync
        self._writing = threading.Lock()  # the log is one chain; held for one write to a file

    async def decision(self, request: TaskRequest, decision: Plan | Refusal) -> None:
        """Before the start: the request, and what was made of it."""
        refused = isinstance(decision, Refusal)
        fields: dict[str, Field] = {
            "task_id": request.task_id,
            "lease_id": request.lease_id,
            "asked_by": self._control_plane,
            "interpreter": request.interpreter,
            "script_sha256": script_sha256(request.script),
            "timeout_sec": request.timeout_sec,
            "output_limit": request.output_limit,
            "decision": "refused" if refused else "run",
        }
        if isinstance(decision, Refusal):
            fields["reason"] = decision.reason
        else:
            fields["level"] = decision.level.value
            fields["interpreter_path"] = decision.interpreter_path
        await self._in_thread(self._append_and_sync, SYNCED_EVENT, fields)

    async def outcome(self, task_id: str, outcome: Outcome, ended_by: EndedBy | None = None) -> None:
        """After the end of a run; ``ended_by``: who ended it if it was cancelled."""
        await self.record("task.ended", task_id=task_id, **audit_fields(outcome, ended_by))

    async def cancelled(self, task_id: str, lease_id: str) -> None:
        """The control plane did not want a task any more that had not started."""
        await self.record("task.cancelled", task_id=task_id, lease_id=lease_id, cancelled_by=self._control_plane)

    async def lingered(self, over: LingerEnd) -> None:
        """Processes that were spared after their run are gone."""
        await self.record(
            "task.linger_over",
            task_id=over.run_id,
            lingered=over.lingered,
            killed=over.killed,
            uncertain=over.uncertain,
        )

    async def record(self, event: str, **fields: Field) -> None:
        """Anything else that happened to a task."""
        try:
            await self._write(event, fields)
        except StateError as error:
            what = f"{event} of task {fields['task_id']}" if "task_id" in fields else event
            log.error("audit record %s is lost: %s; %s", what, error, error.hint())

    async def _write(self, event: str, fields: dict[str, Field]) -> None:
        await self._in_thread(self._append, event, fields)

    async def _in_thread(self, write: Callable[[str, dict[str, Field]], None], event: str, fields: Any) -> None:
        try:
            await self._run_sync(write, event, fields)
        except OSError as error:  # there is no thread to be had: the log itself raises StateError
            raise StateError(f"audit: {error.strerror}", hint="it is tried again") from None

    def _append_and_sync(self, event: str, fields: dict[str, Field]) -> None:
        # A script that takes the machine down must still be found in the record.
        with self._writing:
            self._audit.record(event, **fields)
            self._audit.sync()

    def _append(self, event: str, fields: dict[str, Field]) -> None:
        with self._writing:
            self._audit.record(event, **fields)
