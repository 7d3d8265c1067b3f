"""What is seen while a run goes on: the events of scripts and requests, and what must hold of them at any moment."""

import json
from dataclasses import dataclass, field
from typing import Any

import trio

from lattice_agent.exec.outcome import Kind, Outcome
from tests.sim.party import Party
from tests.sim.trace import Trace

TOLD = ("exit_code", "stdout", "stderr", "error")
"""What a result says of its run; lease and details may change from one sending to the next."""


@dataclass
class Run:
    """What is known of a task on a node, from its lease on."""

    leased_s: list[float] = field(default_factory=list)
    """When polls were sent that were answered with it."""
    started_in: Party | None = None
    outcome: Outcome | None = None
    told: dict[str, Any] | None = None
    """What the first result that was sent of it says."""


class Watch:
    """Sees everything; each method checks what can be checked at once."""

    def __init__(self, trace: Trace, slots: dict[str, int]) -> None:
        self._trace = trace
        self._slots = slots
        self.runs: dict[tuple[str, str], Run] = {}

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
        if "forbidden" in script:
            self._trace.violated("policy", f"{task_id} starts on {node}, whose policy refuses it")
        if running > self._slots[node]:
            self._trace.violated("slots", f"{node} runs {running} scripts in {self._slots[node]} slots")

    def ended(self, node: str, task_id: str, outcome: Outcome) -> None:
        """A script ends, and its agent is alive to see it."""
        self._trace.note(node, f"END {task_id} {outcome.kind} {outcome.exit_code}")
        self.run_of(node, task_id).outcome = outcome

    # --- lives ---

    def up(self, node: str) -> None:
        """A life of its agent begins."""

    def down(self, node: str) -> None:
        """It has ended."""

    # --- requests ---

    def asked(self, node: str, path: str, body: bytes) -> None:
        """A request leaves."""
        if "/task-result" in path:
            told = json.loads(body)
            for result in told["results"] if "results" in told else [told["result"]]:
                self.result_sent(node, result)

    def answered(self, node: str, path: str, status: int | None, retry_after_s: float) -> None:
        """It has its answer, or none."""

    def result_sent(self, node: str, result: dict[str, Any]) -> None:
        """Whatever was said of a run once is said for ever, and it is what became of the run."""
        task_id = result["task_id"]
        run = self.run_of(node, task_id)
        told = {name: result[name] for name in TOLD}
        if run.told is None:
            run.told = told
            self._check_told(node, task_id, run, told)
        elif run.told != told:
            self._trace.violated("one result", f"{task_id} on {node} was {short(run.told)}, now it is {short(told)}")

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


def now_s() -> float:
    return trio.current_time()
