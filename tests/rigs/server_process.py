"""The control plane as a process of its own, on a loopback port that the kernel chose."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.rigs import steering
from tests.rigs.steering import Steering

SERVE = (
    "import sys\n"
    "from server_stub.config import Limits, Settings\n"
    "from server_stub.serve import serve\n"
    "given = eval(sys.argv[1])\n"
    "serve(Settings(**given | {'limits': Limits(**given.get('limits', {}))}))\n"
)
ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


@dataclass(frozen=True)
class Running:
    """A server that accepts connections at ``url``."""

    process: subprocess.Popen[str]
    url: str

    def client(self, token: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=START_SECONDS)

    def wait(self) -> int:
        return self.process.wait(START_SECONDS)


@contextmanager
def started(command: list[str]) -> Iterator[Running]:
    """Runs the command until it has announced its URL; killed at the end at the latest."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if readable else ""
        assert line.startswith("listening on "), f"said {line!r}"
        yield Running(process, line.removeprefix("listening on ").strip())
    finally:
        process.kill()
        process.wait(START_SECONDS)
        process.stdout.close()


def serving(**settings: object) -> list[str]:
    """The command line of a server with such settings."""
    return [sys.executable, "-c", SERVE, repr({"port": 0, **settings})]


def crashing(db_path: Path, fuse: Path) -> list[str]:
    """The command line of one that has crash points (``tests.crashes``)."""
    steering.write(file := db_path.with_name("steering.json"), Steering())
    words = [fuse, db_path, file, "extended", 0]
    return [sys.executable, "-m", "tests.crashes.server_program", *map(str, words)]
