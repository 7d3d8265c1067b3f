"""Plans for programs that use the package as a library: sensible limits, no policy file, no task of a control plane."""

import os
from typing import Final

from lattice_agent.errors import SandboxError
from lattice_agent.exec.local_policy import FIXED_PATHS, INTERPRETERS
from lattice_agent.exec.plan import TASK_PATH, Level, Limits, Plan, Profile

DEFAULT_PROFILE: Final = Profile(Level.STRICT)
DEFAULT_LIMITS: Final = Limits(wall_s=30.0, output_bytes=65_536, cpu_s=35, processes=64)


def plan_for(
    script: str | bytes,
    profile: Profile = DEFAULT_PROFILE,
    interpreter: str = "sh",
    limits: Limits | None = None,
    environment: dict[str, str] | None = None,
) -> Plan:
    """A plan that runs ``script`` in a cell of ``profile``. Raises SandboxError for an interpreter that is not there.

    ``environment`` is added to PATH and the variables that name the work directory (HOME, TMPDIR, XDG_RUNTIME_DIR).
    """
    for name in environment or {}:
        if not name or "=" in name or "\0" in name:
            raise SandboxError(f"{name!r} is not the name of an environment variable")
    own = {"PATH": TASK_PATH, **(environment or {})}
    for place in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR"):
        own.pop(place, None)  # they name the work directory
    return Plan(
        run_id="script",
        level=profile.level,
        interpreter=interpreter,
        interpreter_path=interpreter_inside(interpreter),
        script=script.encode() if isinstance(script, str) else script,
        environment=tuple(own.items()),
        limits=limits or DEFAULT_LIMITS,
        profile=profile,
    )


def interpreter_inside(name: str) -> str:
    """Where a cell finds the interpreter. Raises SandboxError."""
    if name not in INTERPRETERS:
        raise SandboxError(f"unknown interpreter {name!r}", hint=f"use one of {', '.join(INTERPRETERS)}")
    candidates = [FIXED_PATHS[name]] if name in FIXED_PATHS else [f"{place}/{name}" for place in TASK_PATH.split(":")]
    path = next((path for path in candidates if os.access(path, os.X_OK)), None)
    if path is None:
        raise SandboxError(f"{name} is not in {TASK_PATH}", hint=f"install {name} for all users of this host")
    return path
