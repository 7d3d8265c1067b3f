"""The command ``lattice-agent`` with a leak: ``python -I leaky_agent.py FLAGS...`` keeps one more descriptor open for
each run. The program is the production one, its restart included."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]


def restart_here() -> None:
    """The agent's restart of itself leads back to this program."""
    execve = os.execve

    def restart(path: str, argv: list[str], environ: dict[str, str]) -> NoReturn:
        execve(path, [path, "-I", __file__, argv[-1]], environ)

    os.execve = restart  # type: ignore[assignment]


def leak() -> None:
    from lattice_agent.exec.runner import Runner

    run = Runner.run

    async def run_and_leak(self: Runner, *plan: Any, **how: Any) -> Any:
        os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return await run(self, *plan, **how)

    Runner.run = run_and_leak  # type: ignore[method-assign]


def main() -> int:
    words = sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    sys.argv = ["lattice-agent", *words]
    from lattice_agent.cli import main as command
    from lattice_agent.cli.scrub import resume_descriptor

    if resume_descriptor(words) is None:
        restart_here()
    else:
        leak()
    return command()


if __name__ == "__main__":
    sys.exit(main())
