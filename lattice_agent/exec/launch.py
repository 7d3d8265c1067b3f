"""Starts the spawner from the agent's side: a fresh interpreter, synchronously, before anything else is loaded.

Usable before trio runs and before the token is read; the first start belongs there. It may be called again when a
spawner died, always from the main thread: a child of a worker thread is told of its parent's death when the *thread*
ends, and fork from a threaded program is what the spawner exists to avoid (posix_spawn is used by ``subprocess`` here
in effect: vfork and exec, no copy of the agent).
"""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from lattice_agent.errors import SandboxError
from lattice_agent.exec.kernel import seqpacket

_OWN_PROC: Final = "/proc/self/status"
STOP_S: Final = 15.0
"""A spawner that was hung up on ends its runs within its own bounds (about 10 s); after this it is killed."""


class SpawnerProcess:
    """A running spawner: its socket and its process. ``close()`` ends it and everything below it."""

    def __init__(self, process: "subprocess.Popen[bytes]", sock: socket.socket) -> None:
        self.process = process
        self.socket = sock
        """SOCK_SEQPACKET, non-blocking; ``requests`` says what goes over it."""

    @property
    def pid(self) -> int:
        """Process id of the spawner."""
        return self.process.pid

    def ended(self) -> bool:
        """Whether the process is gone (and reaps it)."""
        return self.process.poll() is not None

    def close(self) -> None:
        """Hang up and wait for the spawner's end; kills it after STOP_S. Blocks; normally for a millisecond."""
        self.socket.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End a spawner that does not answer. Its supervisors live on until their control sockets are closed."""
        self.socket.close()
        self.process.kill()
        self.process.wait()


def start_spawner() -> SpawnerProcess:
    """Start a spawner and return at once, before it is up: requests wait in its socket.

    Raises SandboxError when called from another thread than the main one, without /proc, or when the interpreter cannot
    be started.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SandboxError("the spawner must be started from the main thread")
    if not os.path.exists(_OWN_PROC):
        raise SandboxError(
            "/proc is not mounted, or hides this process from itself: nothing that a script leaves could be found",
            hint="mount proc on /proc for the agent; hidepid=2 is fine",
        )
    ours, theirs = seqpacket.pair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _program(theirs.fileno())],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise SandboxError(f"cannot start the spawner {sys.executable}: {error.strerror}") from error
    finally:
        theirs.close()
    return SpawnerProcess(process, ours)


def _program(fd: int) -> str:
    """What the interpreter runs. Without ``site`` (-S) no .pth file has a say; the two places it needs are named."""
    return f"import sys; sys.path += {_import_places()!r}; from lattice_agent.exec.spawner import main; main({fd})"


def _import_places() -> list[str]:
    """Where the spawner finds this very package, python-prctl, and pyseccomp for the child that makes the filters."""
    places = [Path(__file__).resolve().parents[2], *(_place_of(name) for name in ("prctl", "pyseccomp"))]
    return list(dict.fromkeys(os.fspath(place) for place in places))


def _place_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise SandboxError(f"the module {module} is missing", hint=f"install {module} into the agent's environment")
    return Path(spec.origin).parent
