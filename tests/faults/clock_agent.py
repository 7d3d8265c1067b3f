"""The command ``lattice-agent`` with another wall clock: ``python -I clock_agent.py FLAGS...``, with LD_PRELOAD and
LATTICE_CLOCK_FILE in the environment (``wall_clock.c``).

The program is the production one. Its restart of itself, which keeps no variable but harmless ones, keeps these two.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("LD_PRELOAD", "LATTICE_CLOCK_FILE")


def keep_the_clock() -> None:
    execve = os.execve
    clock = {name: os.environ[name] for name in KEPT}

    def restart(path: str, argv: list[str], environ: dict[str, str]) -> NoReturn:
        execve(path, [path, "-I", __file__, argv[-1]], environ | clock)

    os.execve = restart  # type: ignore[assignment]


def main() -> int:
    sys.path.insert(0, str(ROOT))
    sys.argv[0] = "lattice-agent"
    keep_the_clock()
    from lattice_agent.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
