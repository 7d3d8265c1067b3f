"""Runs plans: the trio-native face of the package.

::

    spawner = start_spawner()                       # in the main thread, before anything else
    async with open_runner(spawner) as runner:
        outcome = await runner.run(plan)

A run owns a work directory, a supervisor process and three channels to it, and gives all of them back whatever happens.
What outlives ``run`` by permission (lingering processes, the removal of a huge directory) goes on in the runner's own
nursery, and ends with the runner.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from typing import Final

import trio

from lattice_agent.errors import SandboxError
from lattice_agent.exec import blueprint
from lattice_agent.exec.cell_run import CellRun
from lattice_agent.exec.cell_task import CellTask
from lattice_agent.exec.launch import SpawnerProcess
from lattice_agent.exec.outcome import Cause, Outcome, failed_to_start
from lattice_agent.exec.output_stream import OnOutput
from lattice_agent.exec.plan import Level, Plan, Profile
from lattice_agent.exec.spawner_link import SpawnerLink
from lattice_agent.exec.supervision import LingerEnd, Supervision
from lattice_agent.exec.workdir import WorkDirectory

log = logging.getLogger(__name__)

REMOVE_S: Final = 1.0
"""How long an outcome waits for the removal of its work directory; a larger one is removed in the background."""


class Runner:
    """Made by ``open_runner``. Any number of runs at once; the caller bounds it."""

    def __init__(
        self, link: SpawnerLink, nursery: trio.Nursery, on_linger_end: Callable[[LingerEnd], None] | None
    ) -> None:
        self._link = link
        self._nursery = nursery
        self._on_linger_end = on_linger_end

    @property
    def spawner_pid(self) -> int:
        """Process id of the present spawner."""
        return self._link.spawner_pid

    def keep_ready(self, profile: Profile | None) -> None:
        """Have cells of this profile built ahead of the tasks from now on, and of no other."""
        self._link.cells.keep(profile)

    @property
    def spawner_restarts(self) -> int:
        """How often the spawner died and was replaced."""
        return self._link.restarts

    async def run(self, plan: Plan, on_output: OnOutput | None = None) -> Outcome:
        """Run the plan; how it ended. Raises nothing of its own: what cannot be prepared is FAILED_TO_START.

        Cancellation ends the script (SIGTERM to its tree, ``grace_s``, SIGKILL, sweep: bounded) and then *returns* an
        outcome of kind CANCELLED with what was captured, so that the caller can store it before its next checkpoint.
        It is raised only if it came before anything was started.

        ``on_output`` gets what is kept of both streams as it comes.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if plan.profile is not None:
            return await self._run_in_cell(plan, plan.profile, on_output)
        try:
            directory = WorkDirectory.create(plan.work_root, plan.script)
        except OSError as error:
            return failed_to_start(plan.level, f"{error.strerror}: {error.filename}")
        except SandboxError as error:
            return failed_to_start(plan.level, str(error))
        try:
            supervision = Supervision(plan, directory.path, directory.script_path, self._link, on_output)
        except OSError as error:
            await self._remove(directory)
            return failed_to_start(plan.level, str(error))
        try:
            outcome = await _conduct(supervision)
        except BaseException:
            # A fault of ours: hanging up ends the run all the same, and nothing of it stays.
            supervision.close()
            await self._remove(directory)
            raise
        if supervision.lingering:
            self._nursery.start_soon(self._linger, supervision, directory)
        else:
            supervision.close()
            await self._remove(directory)
        return outcome

    async def _run_in_cell(self, plan: Plan, profile: Profile, on_output: OnOutput | None) -> Outcome:
        directory = None
        try:
            if profile.level is Level.LANDLOCK or profile.work_disk is not None:
                directory = WorkDirectory.create(profile.work_disk or plan.work_root, None)
            cell = await self._link.cells.take(profile, directory.path if directory else "")
        except (OSError, SandboxError) as error:
            if directory is not None:
                await self._remove(directory)
            return failed_to_start(plan.level, _reason(error))
        except BaseException:
            if directory is not None:
                await self._remove(directory)
            raise
        inside = directory.path if directory and profile.level is Level.LANDLOCK else blueprint.WORK
        try:
            task = CellTask(plan, cell, inside, on_output)
        except OSError as error:  # no descriptors left
            self._link.cells.discard(cell)
            if directory is not None:
                await self._remove(directory)
            return failed_to_start(plan.level, _reason(error))
        run = CellRun(task, self._link.cells, self._link)
        try:
            return await run.conduct()
        finally:
            run.close()
            if directory is not None:
                await self._remove(directory)

    async def _linger(self, supervision: Supervision, directory: WorkDirectory) -> None:
        """Until what was spared is gone: its directory stays, and its output is drained."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_relay_cancellation, supervision)
            with trio.CancelScope(shield=True):
                over = await supervision.linger()
            nursery.cancel_scope.cancel()
        supervision.close()
        log.info("run %s: %d lingered, %d killed at the end", over.run_id, over.lingered, over.killed)
        if self._on_linger_end is not None:
            self._on_linger_end(over)
        await self._remove(directory)

    async def _remove(self, directory: WorkDirectory) -> None:
        """Remove the directory, in the background if it takes long. Not cancelled: bounded instead."""
        with closing(directory.remove()) as removal:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + REMOVE_S):
                for _ in removal:
                    await trio.lowlevel.checkpoint()
                return
        self._nursery.start_soon(self._remove_rest, directory)

    async def _remove_rest(self, directory: WorkDirectory) -> None:
        """When the runner closes before the end, the next start does what is left."""
        try:
            for _ in directory.remove():
                await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            directory.abandon()
            raise


@asynccontextmanager
async def open_runner(
    spawner: SpawnerProcess,
    *,
    keep_ready: Profile | None = None,
    on_linger_end: Callable[[LingerEnd], None] | None = None,
) -> AsyncGenerator[Runner, None]:
    """A runner on a started spawner, which it owns from here: it replaces it when it dies, and ends it at the end.

    ``keep_ready``: cells of this profile are built ahead of the tasks. On leaving, what lingers is killed (and told to
    ``on_linger_end``), and every process below the spawner is gone. Runs must have ended by then: have their nursery
    inside. trio must run in the main thread.
    """
    link = SpawnerLink(spawner, keep_ready)
    try:
        async with trio.open_nursery() as services:
            # Shielded: a cancelled run still needs the spawner's word to come to its end.
            serving = trio.CancelScope(shield=True)
            services.start_soon(_serve, link, serving)
            try:
                async with trio.open_nursery() as background:
                    yield Runner(link, background, on_linger_end)
                    background.cancel_scope.cancel()
            finally:
                serving.cancel()
    finally:
        link.close()


def _reason(error: OSError | SandboxError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error)


async def _serve(link: SpawnerLink, scope: trio.CancelScope) -> None:
    with scope:
        async with trio.open_nursery() as services:
            services.start_soon(link.cells.serve)
            await link.serve()


async def _conduct(supervision: Supervision) -> Outcome:
    """The outcome of a supervision that is itself never cancelled, but told."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_relay_cancellation, supervision)
        with trio.CancelScope(shield=True):
            outcome = await supervision.conduct()
        nursery.cancel_scope.cancel()
    return outcome


async def _relay_cancellation(supervision: Supervision) -> None:
    """Turn a cancellation into the wish to end. Swallowed on purpose: what it leads to is an outcome."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        supervision.end(Cause.CANCELLED)
