"""What would be done for a plan, told from the tables that are carried out, with the values they would be carried out
on.

Nothing is started. Two values are not known before there is a cell: its ids, from a range that each spawner chooses by
chance (here another spawner's choice), and at level landlock the name of its work directory.
"""

import os
import resource
import select
import tempfile
from dataclasses import dataclass
from typing import Any, Final

from lattice_agent.errors import SandboxError
from lattice_agent.exec import id_mapping, template
from lattice_agent.exec.blueprint import HOST_IDS, ID_RANGE, ONE_ID, Blueprint, Build
from lattice_agent.exec.cell_ends import limit_triples, prepare_request
from lattice_agent.exec.cell_steps import steps_for
from lattice_agent.exec.cells import SUBORDINATE_IDS, Cells
from lattice_agent.exec.kernel import cgroup_place, rlimits
from lattice_agent.exec.plan import Level, Plan, Profile
from lattice_agent.exec.step import Step
from lattice_agent.exec.workdir import PREFIX

DIRECTORY: Final = f"{PREFIX}x..."
"""Stands for a fresh directory on the host, whose name is chosen when it is made."""
RESOURCES: Final = {
    resource.RLIMIT_CPU: ("cpu", "s"),
    resource.RLIMIT_FSIZE: ("file size", "bytes"),
    resource.RLIMIT_NPROC: ("processes", ""),
    resource.RLIMIT_AS: ("address space", "bytes"),
    resource.RLIMIT_DATA: ("data", "bytes"),
}
_SOME_DESCRIPTOR: Final = 0


@dataclass(frozen=True)
class ExplainedStep:
    """One step of the table."""

    name: str
    what: str
    why: str
    once: bool
    """For all cells of a profile, when the first is built; else for each cell."""


def explain_steps(plan: Plan) -> tuple[ExplainedStep, ...]:
    """The steps for this plan, in the order they are carried out in; none at level host, which has no cell.

    Raises SandboxError when the filter cannot be made.
    """
    if plan.profile is None:
        return ()
    blueprint = blueprint_of(plan.profile)
    ids = _ids()
    steps: list[ExplainedStep] = []
    if blueprint.namespaces:
        stage = template.Stage(blueprint, (), ids=ids, in_range=SUBORDINATE_IDS)
        steps += [_explained(step, stage, once=True) for step in template.steps_for(stage)]
    build = _build(plan.profile, blueprint, ids)
    return (*steps, *(_explained(step, build, once=False) for step in steps_for(build)))


def explain_limits(plan: Plan) -> dict[str, str]:
    """What a run of this plan may use: name to value with its unit."""
    limits = plan.limits
    told = {
        "wall clock": f"{limits.wall_s:g} s, then SIGTERM, and SIGKILL {limits.grace_s:g} s later",
        "output": f"{limits.output_bytes} bytes of each stream",
    }
    if plan.profile is not None:
        told["memory"] = f"{limits.memory_bytes} bytes of all processes and files together"
    for number, soft, hard in limit_triples(limits):
        name, unit = RESOURCES[number]
        value = "as it is" if soft == rlimits.INFINITY else f"{soft} {unit}".strip()
        told[name] = value if soft == hard else f"{value}, then SIGKILL at {hard} {unit}"
    return told


def blueprint_of(profile: Profile) -> Blueprint:
    """The profile as the spawner sees it."""
    request = prepare_request(0, profile)
    return Blueprint(
        request.level,
        network=bool(request.network),
        read_only=tuple(request.read_only),
        writable=tuple(request.writable),
        work_bytes=request.work_bytes,
        work_inodes=request.work_inodes,
    )


def _ids() -> int:
    """Whose ids a spawner that is started now would give. That it may use a range which is there is taken for granted:
    it would have to be tried (``lattice-agent doctor`` does)."""
    if os.geteuid() == 0:
        return HOST_IDS
    try:
        id_mapping.look(SUBORDINATE_IDS)
    except id_mapping.NoMappingError:
        return ONE_ID
    return ID_RANGE


def _build(profile: Profile, blueprint: Blueprint, ids: int) -> Build:
    """As the spawner would make it. Descriptors are only there or not; nothing is done with them."""
    on_host = profile.level is Level.LANDLOCK or profile.work_disk is not None
    of_template = ids if blueprint.namespaces else None
    return Build(
        blueprint,
        Cells(select.poll(), _tell_nobody).identity(blueprint, 0, of_template, on_disk=on_host),
        filter_program=_filter(blueprint),
        mount_namespace=_SOME_DESCRIPTOR if blueprint.namespaces else -1,
        user_namespace=_SOME_DESCRIPTOR if blueprint.namespaces and ids != HOST_IDS else -1,
        directory=os.fsencode(f"{tempfile.gettempdir()}/{DIRECTORY}") if on_host else b"",
    )


def _filter(blueprint: Blueprint) -> bytes:
    """The seccomp program. Loads libseccomp; raises SandboxError."""
    from lattice_agent.exec.filter_export import export_filter
    from lattice_agent.exec.syscalls import Variant

    return export_filter(
        Variant(
            inet=blueprint.namespaces or blueprint.network,
            memory_watch=not _memory_controller(),
            shares_host=not blueprint.namespaces,
        )
    )


def _memory_controller() -> bool:
    """Whether a spawner that is started now would find one that it may use."""
    try:
        base, refusal = cgroup_place.survey()
        if refusal:
            return False
        with open(f"{base}/cgroup.controllers", encoding="ascii") as file:
            return "memory" in file.read().split()
    except OSError:
        return False


def _explained(step: Step, values: Any, *, once: bool) -> ExplainedStep:
    return ExplainedStep(step.name, step.describe(values), step.reason, once)


def _tell_nobody(_message: object, _descriptors: list[int]) -> None:
    raise SandboxError("a cell was asked for where none is made")
