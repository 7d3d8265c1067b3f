"""The trio-native face of the package for programs that are not the agent.

::

    async with open_sandbox() as sandbox:
        outcome = await sandbox.run("echo hello", timeout_s=5)
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from lattice_agent.exec.launch import start_spawner
from lattice_agent.exec.library import DEFAULT_LIMITS, DEFAULT_PROFILE, plan_for
from lattice_agent.exec.outcome import Outcome
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import CPU_MARGIN_S, Level, Limits, Profile
from lattice_agent.exec.runner import Runner, open_runner


class Sandbox:
    """Made by ``open_sandbox``. Any number of scripts at once."""

    def __init__(self, runner: Runner, profile: Profile) -> None:
        self._runner = runner
        self._profile = profile

    async def run(
        self,
        script: str | bytes,
        *,
        interpreter: str = "sh",
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        limits: Limits | None = None,
        environment: dict[str, str] | None = None,
        profile: Profile | None = None,
        on_output: OnOutput | None = None,
    ) -> Outcome:
        """Run a script; how it ended. A script that ends badly is an outcome, not an exception.

        ``timeout_s`` and ``memory_bytes`` change those of ``limits`` (default: 30 s, 512 MiB, 64 KiB of each stream).
        ``profile`` runs it in another kind of cell than the sandbox was opened for. ``on_output`` is called with
        "stdout" or "stderr" and bytes as they come. Cancelling ends the script and everything it started, and then
        *returns* an outcome of kind CANCELLED. Raises SandboxError for an interpreter that is not there.
        """
        chosen = limits or DEFAULT_LIMITS
        if timeout_s is not None:
            chosen = replace(chosen, wall_s=timeout_s, cpu_s=int(timeout_s) + CPU_MARGIN_S)
        if memory_bytes is not None:
            chosen = replace(chosen, memory_bytes=memory_bytes)
        plan = plan_for(script, profile or self._profile, interpreter, chosen, environment)
        return await self._runner.run(plan, on_output)


@asynccontextmanager
async def open_sandbox(profile: Profile = DEFAULT_PROFILE) -> AsyncGenerator[Sandbox, None]:
    """A sandbox with cells of ``profile`` kept ready. In the main thread; every process is gone afterwards.

    Raises SandboxError when the spawner cannot be started. A level that this host does not reach shows with the first
    script: its outcome is FAILED_TO_START and names the step. There is no silent fallback to less.
    """
    on_host = profile.level is Level.LANDLOCK or profile.work_disk is not None  # a directory for each run: never ahead
    async with open_runner(start_spawner(), keep_ready=None if on_host else profile) as runner:
        yield Sandbox(runner, profile)
