"""An interpreter in which ``lattice_agent.app`` and the spawner are stand-ins that tell what they see.

The restart uses ``python -I``, which looks at no variable of the test; so the stand-ins come in the way a package
does, through a virtual environment. Everything before the app is the real program in a real process.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prctl

import lattice_agent

STUB = """
import json, os, sys, types

seen = {}

def start_spawner():
    import prctl
    descriptor = int(sys.argv[1].partition("=")[2])
    seen["unread"] = os.fstat(descriptor).st_size > 0
    seen["inheritable"] = os.get_inheritable(descriptor)
    seen["dumpable"] = prctl.get_dumpable()
    seen["loaded"] = sorted({"trio", "httpx", "pydantic", "ssl"} & set(sys.modules))
    seen["environ_at_spawn"] = dict(os.environ)
    return types.SimpleNamespace(close=lambda: print("spawner closed", flush=True))

def run(settings, environ, spawner):
    import logging
    logging.getLogger("stub").warning("the token is %s", settings.agent.token.reveal())
    seen["settings"] = repr(settings)
    seen["token"] = settings.agent.token.reveal()
    seen["usage_secret"] = settings.usage.secret.reveal()
    seen["environ"] = dict(os.environ)
    seen["called_with"] = dict(environ)
    seen["memfds"] = [link for link in map(link_of, os.listdir("/proc/self/fd")) if "memfd" in link]
    print(json.dumps(seen), flush=True)
    answer = sys.stdin.readline().strip()
    if answer == "crash":
        raise RuntimeError("crashed with " + settings.agent.token.reveal())
    return int(answer or 0)

def link_of(number):
    try:
        return os.readlink("/proc/self/fd/" + number)
    except OSError:
        return ""

def module(name, **content):
    made = types.ModuleType(name)
    made.__dict__.update(content)
    sys.modules[name] = made

module("lattice_agent.app", run=run)
module("lattice_agent.exec.launch", start_spawner=start_spawner)
"""


def make_stub(folder: Path) -> Path:
    """The interpreter of a virtual environment with the stand-ins, the package under test and python-prctl."""
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "stub_agent_stand_ins.py").write_text(STUB)
    places = [Path(lattice_agent.__file__).parents[1], Path(prctl.__file__).parent]
    (packages / "stub.pth").write_text("\n".join([*map(str, places), "import stub_agent_stand_ins"]) + "\n")
    return folder / "bin" / "python"


class StubAgent:
    """One started agent, from the moment its stand-in app runs."""

    def __init__(self, process: "subprocess.Popen[str]", seen: dict[str, Any]) -> None:
        self.process = process
        self.seen = seen

    @property
    def pid(self) -> int:
        return self.process.pid

    def proc(self, name: str) -> bytes:
        return Path(f"/proc/{self.pid}/{name}").read_bytes()

    def end(self, answer: str = "0") -> tuple[int, str, str]:
        """Let the app return, or crash; exit code, further stdout, and stderr."""
        out, err = self.process.communicate(f"{answer}\n", timeout=20)
        return self.process.returncode, out, err


@contextmanager
def running(
    python: Path, words: Sequence[str], environ: Mapping[str, str], *, prefix: Sequence[str] = ()
) -> Iterator[StubAgent]:
    """Starts the agent and waits for its app. ``prefix`` is a program that changes user and executes the rest."""
    argv = [*prefix, str(python), "-m", "lattice_agent", *words]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            first = process.stdout.readline()
            assert first, process.stderr.read()
            yield StubAgent(process, json.loads(first))
        finally:
            process.kill()


def call(
    words: Sequence[str], environ: Mapping[str, str] | None = None, *, python: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """The command with an end of its own: one-shot modes and errors."""
    return subprocess.run(
        [str(python or sys.executable), "-m", "lattice_agent", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(environ or {})},
    )
