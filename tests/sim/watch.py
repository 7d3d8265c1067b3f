"""What is seen while a run goes on: the events of scripts and requests, and what must hold of them at any moment."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from lattice_agent.exec.outcome import Kind, Outcome
from tests.sim.party import PARTY, Party
from tests.sim.patience import PatienceCheck
from tests.sim.rhythm import check_rhythm
from tests.sim.scenario import NodePlan
from tests.sim.trace import Trace

TOLD = ("exit_code", "stdout", "stderr", "error")
"""What a result says of its run; lease and details may change from one sending to the next."""


ADOPTED_WITHIN_S = 5.0
"""From an answer that holds a lease to the first result under it: one commit, and what was being sent already."""


@dataclass(frozen=True)
class Leased:
    """A lease has reached its agent, in this life of it."""

    at_s: float
    lease_id: str
    party: Party


@dataclass
class Run:
    """What is known of a task on a node, from its lease on."""

    leases: list[Leased] = field(default_factory=list)
    """Those that have reached a living agent."""
    started_in: Party | None = None
    outcome: Outcome | None = None
    cancelled_in: Party | None = None
    """The life of its agent that was last told to end it, or not to start it."""
    is_acknowledged: bool = False
    """The agent was told that its result is stored."""
    told: dict[str, Any] | None = None
    """What the first result that was sent of it says."""


class Watch:
    """Sees everything; each method checks what can be checked at once."""

    def __init__(self, trace: Trace, slots: dict[str, int]) -> None:
        self._trace = trace
        self._slots = slots
        self.runs: dict[tuple[str, str], Run] = {}
        self._patience: dict[str, PatienceCheck] = {}
        self._up_since: dict[str, float] = {}
        self._up: dict[str, list[tuple[float, float]]] = {}
        self._beats: dict[str, list[float]] = {}

    def run_of(self, node: str, task_id: str) -> Run:
        return self.runs.setdefault((node, task_id), Run())

    # --- scripts ---

    def started(self, node: str, task_id: str, party: Party, script: str, running: int) -> None:
        """A script starts; ``running``: with it, on this node."""
        self._trace.note(node, f"START {task_id} ({script})")
        run = self.run_of(node, task_id)
        if run.started_in is not None:
            self._trace.violated("at most one start", f"{task_id} starts again on {node}")
        run.started_in = party
        if run.cancelled_in is party:
            self._trace.violated("cancelled", f"{task_id} starts on {node}, which was told that it is cancelled")
        if "forbidden" in script:
            self._trace.violated("policy", f"{task_id} starts on {node}, whose policy refuses it")
        if running > self._slots[node]:
            self._trace.violated("slots", f"{node} runs {running} scripts in {self._slots[node]} slots")

    def ended(self, node: str, task_id: str, outcome: Outcome) -> None:
        """A script ends, and its agent is alive to see it."""
        self._trace.note(node, f"END {task_id} {outcome.kind} {outcome.exit_code}")
        self.run_of(node, task_id).outcome = outcome

    # --- lives ---

    def up(self, who: str) -> None:
        """A life of an agent or the control plane begins."""
        self._up_since[who] = trio.current_time()
        self._patience[who] = PatienceCheck(who, self._trace)

    def down(self, who: str) -> None:
        """It has ended."""
        self._up.setdefault(who, []).append((self._up_since.pop(who), trio.current_time()))

    def beat(self, node: str) -> None:
        """A heartbeat has been taken."""
        self._beats.setdefault(node, []).append(trio.current_time())

    def check_history(self, plans: Mapping[str, NodePlan]) -> None:
        """What can be told only afterwards."""
        for who in list(self._up_since):
            self.down(who)
        for node, plan in plans.items():
            beats = self._beats.get(node, [])
            check_rhythm(node, plan, self._up.get(node, []), self._up.get("control", []), beats, self._trace)

    # --- requests ---

    def asked(self, node: str, path: str, body: bytes) -> None:
        """A request leaves."""
        self._patience[node].asked(path)
        if "/task-result" in path:
            told = json.loads(body)
            for result in told["results"] if "results" in told else [told["result"]]:
                self.result_sent(node, result)

    def answered(self, node: str, path: str, status: int | None, retry_after_s: float) -> None:
        """It has its answer, or none."""
        self._patience[node].answered(path, status, retry_after_s)

    def cancelled(self, node: str, task_id: str) -> None:
        """The agent was told over the control stream, before it does anything about it."""
        self.run_of(node, task_id).cancelled_in = PARTY.get()

    def acknowledged(self, node: str, task_ids: Iterable[str]) -> None:
        """The control plane has said that it has the results of these tasks, and the agent has heard it."""
        for task_id in task_ids:
            self.run_of(node, task_id).is_acknowledged = True

    def leased(self, node: str, task_id: str, lease_id: str) -> None:
        """A lease has reached its agent."""
        self.run_of(node, task_id).leases.append(Leased(trio.current_time(), lease_id, PARTY.get()))

    def result_sent(self, node: str, result: dict[str, Any]) -> None:
        """Whatever was said of a run once is said for ever, and it is what became of the run."""
        task_id = result["task_id"]
        run = self.run_of(node, task_id)
        self._check_lease(node, run, result)
        told = {name: result[name] for name in TOLD}
        if run.told is None:
            run.told = told
            self._check_told(node, task_id, run, told)
        elif run.told != told:
            self._trace.violated("one result", f"{task_id} on {node} was {short(run.told)}, now it is {short(told)}")

    def _check_lease(self, node: str, run: Run, result: dict[str, Any]) -> None:
        """A result goes out under the newest lease that its agent has."""
        now, sent = trio.current_time(), result["lease_id"]
        newest = 0.0
        for leased in run.leases:
            if leased.lease_id == sent:
                newest = leased.at_s
        missed = [
            one.lease_id
            for one in run.leases
            if one.party is PARTY.get() and newest < one.at_s < now - ADOPTED_WITHIN_S
        ]
        if missed:
            self._trace.violated(
                "newest lease", f"{result['task_id']} on {node} is sent under {sent}, not {missed[-1]}"
            )

    def _check_told(self, node: str, task_id: str, run: Run, told: dict[str, Any]) -> None:
        why = contradiction(run, told)
        if why:
            self._trace.violated("true result", f"{task_id} on {node} is told as {short(told)}: {why}")


def contradiction(run: Run, told: dict[str, Any]) -> str:
    """Why what is told cannot be true of the run; empty if it can."""
    interrupted = told["error"].startswith("interrupted")
    if run.started_in is None:
        return "" if told["error"] and not told["stdout"] else "nothing has run"
    if interrupted:
        by_itself = run.outcome is not None and run.outcome.kind in (Kind.INTERRUPTED, Kind.CANCELLED)
        ended = not run.started_in.alive or run.started_in.stopping.is_set()
        return "" if by_itself or ended else "the agent that ran it lives"
    if run.outcome is None:
        return "it has not ended"
    kept = run.outcome.stdout.kept.decode()
    if told["stdout"] and not kept.startswith(told["stdout"][:64]):
        return "it printed something else"
    if run.outcome.kind is Kind.EXITED and told["exit_code"] != run.outcome.exit_code:
        return f"it exited with {run.outcome.exit_code}"
    return "" if len(told["stdout"]) >= min(len(kept), 60_000) else "its output is not all there"


def short(told: dict[str, Any]) -> str:
    """For a line."""
    return json.dumps({**told, "stdout": f"{len(told['stdout'])} bytes"})
