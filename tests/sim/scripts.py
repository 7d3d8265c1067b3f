"""Scripts without processes: what a job's script does takes its (virtual) time, is counted, and has its outcome."""

from collections.abc import Mapping

import trio

from lattice_agent.exec.outcome import Kind, Outcome, StreamCapture
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import Level, Limits, Plan, Refusal, RefusalKind, TaskRequest
from tests.sim.party import Party
from tests.sim.scenario import Job, Trigger
from tests.sim.watch import Watch

FORBIDDEN = "is forbidden here"


def script_of(job: Job) -> str:
    """The text that names it."""
    return f"job {job.number} {FORBIDDEN if job.is_forbidden else ''}".strip()


def decide(request: TaskRequest) -> Plan | Refusal:
    """The node's policy."""
    if FORBIDDEN in request.script:
        return Refusal(RefusalKind.INTERPRETER, "interpreter is not allowlisted")
    limits = Limits(
        wall_s=request.timeout_sec, output_bytes=request.output_limit, cpu_s=request.timeout_sec, processes=64
    )
    return Plan(request.task_id, Level.HOST, "sh", "/bin/sh", request.script.encode(), (), limits)


class Scripts:
    """Stands where ``exec.runner.Runner`` stands, in one life of an agent."""

    def __init__(self, party: Party, node: str, jobs: Mapping[int, Job], watch: Watch) -> None:
        self._party = party
        self._node = node
        self._jobs = jobs
        self._watch = watch
        self.running = 0

    async def run(self, plan: Plan, on_output: OnOutput | None = None) -> Outcome:
        """As the runner has it: cancelled before the start it raises, afterwards it has an outcome."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._party.stop_if_dead()
        job = self._jobs[int(plan.script.split()[1])]
        self.running += 1
        self._watch.started(self._node, plan.run_id, self._party, plan.script.decode(), self.running)
        self._party.happened(Trigger.STARTED)
        try:
            outcome = await self._until_its_end(job, plan, on_output)
        finally:
            self.running -= 1
        self._party.stop_if_dead()
        self._watch.ended(self._node, plan.run_id, outcome)
        self._party.happened(Trigger.ENDED)
        return outcome

    async def _until_its_end(self, job: Job, plan: Plan, on_output: OnOutput | None) -> Outcome:
        said = b"".join(b"%s says %d\n" % (plan.run_id.encode(), line) for line in range(job.prints // 40 + 1))
        kept = said[: plan.limits.output_bytes] if job.prints else b""
        stdout = StreamCapture(kept=kept, produced=len(said) if job.prints else 0)
        began = trio.current_time()
        try:
            for part in range(2):
                if on_output is not None and (piece := kept[part * len(kept) // 2 : (part + 1) * len(kept) // 2]):
                    on_output("stdout", piece)
                await trio.sleep(job.lasts_s / 2)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(job.grace_s if self._party.alive else 0)
            return Outcome(Kind.CANCELLED, Level.HOST, signal=15, stdout=stdout, grace_s=job.grace_s)
        wall_s = trio.current_time() - began
        if job.spawner_dies:
            return Outcome(Kind.INTERRUPTED, Level.HOST, message="the spawner ended", wall_s=wall_s)
        if wall_s > plan.limits.wall_s:
            return Outcome(Kind.TIMED_OUT, Level.HOST, stdout=stdout, signal=15, wall_s=wall_s)
        kind = Kind.EXITED if stdout.produced <= plan.limits.output_bytes else Kind.OUTPUT_LIMIT
        return Outcome(kind, Level.HOST, exit_code=job.exit_code, stdout=stdout, wall_s=wall_s)
