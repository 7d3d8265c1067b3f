"""The command ``lattice-agent`` with other limits on the silence of its control stream: ``python -I hasty_agent.py
PING_S,SILENCE_S,WRITE_S FLAGS...``. The program is the production one, its restart included."""

import os
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]


def restart_here(limits: str) -> None:
    """The agent's restart of itself leads back to this program."""
    execve = os.execve

    def restart(path: str, argv: list[str], environ: dict[str, str]) -> NoReturn:
        execve(path, [path, "-I", __file__, limits, argv[-1]], environ)

    os.execve = restart  # type: ignore[assignment]


def hurry(limits: str) -> None:
    from lattice_agent.link import websocket

    names = ("PING_S", "SILENCE_S", "WRITE_S")
    for name, value in zip(names, limits.split(","), strict=True):
        setattr(websocket, name, float(value))


def main() -> int:
    limits, *words = sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    sys.argv = ["lattice-agent", *words]
    from lattice_agent.cli import main as command
    from lattice_agent.cli.scrub import resume_descriptor

    if resume_descriptor(words) is None:
        restart_here(limits)
    else:
        hurry(limits)
    return command()


if __name__ == "__main__":
    sys.exit(main())
