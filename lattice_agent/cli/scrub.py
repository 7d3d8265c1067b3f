"""Taking the secrets out of argv and environment: the agent starts itself again, once, without them.

Theory of operation. ``/proc/<pid>/cmdline`` and ``environ`` show the memory the kernel filled at execve(2), to every
process of the same user, so to every task at level ``host``. Overwriting that memory does not help: pages shared with
a forked child keep the old text. So the first process

1. puts argv and the environment values the agent reads into a memfd, seals it against any change,
2. executes the interpreter again with the memfd as its only extra descriptor: the same pid, so a service manager
   notices nothing, with a fixed argv and an environment of names that hold no credentials;

and the process that comes out of it

3. takes the descriptor: not inherited by anything from here on, and refused unless it is such a memfd,
4. makes itself non-dumpable: from now on its /proc files, memory and descriptors are closed to its own user,
5. may start the spawner, which thereby never had a secret in its memory or a descriptor to one,
6. and only then reads the memfd and closes it. The proxy variables go back to ``os.environ``, which is heap memory.

The pid inside the memfd must be the reader's own, so a descriptor that leaks into another process is of no use there.
"""

import dataclasses
import fcntl
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from lattice_agent.errors import LatticeError, UsageError

RESUME_FLAG: Final = "--resume-fd="
MAX_INVOCATION_BYTES: Final = 1 << 20  # argv and variables as JSON; more is refused before the restart

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
PROXY_NAMES: Final = frozenset(_PROXIES) | frozenset(name.lower() for name in _PROXIES)

_SYSTEM: Final = ("PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "container", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SERVICE_MANAGER: Final = (
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID"),
    *("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"),
)
_LOADER: Final = ("LD_LIBRARY_PATH",)  # an interpreter that was found through it cannot start again without it
HARMLESS_NAMES: Final = frozenset((*_SYSTEM, *_SERVICE_MANAGER, *_LOADER))
HARMLESS_PREFIXES: Final = ("LC_", "XDG_")


class RestartError(LatticeError):
    """The agent could not start itself again without its secrets in argv."""

    exit_code = os.EX_OSERR
    default_hint = "check that memfd_create and execve are allowed to this service"


@dataclasses.dataclass(frozen=True, slots=True)
class Invocation:
    """What the program was called with: argv without the program's name, and the variables the agent reads."""

    words: tuple[str, ...]
    environ: Mapping[str, str]


def harmless(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that stay where every process of the same user can read them.

    >>> harmless({"PATH": "/bin", "LATTICE_NODE_TOKEN": "x", "https_proxy": "http://u:p@h"})
    {'PATH': '/bin'}
    """
    return {
        name: value for name, value in environ.items() if name in HARMLESS_NAMES or name.startswith(HARMLESS_PREFIXES)
    }


def restart(words: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Starts the program again without secrets in argv or environment. Raises RestartError if that is impossible."""
    # All variables: local policy may name any of them for scripts.
    content = json.dumps({"pid": os.getpid(), "words": list(words), "environ": dict(environ)}).encode("ascii")
    if len(content) > MAX_INVOCATION_BYTES:
        raise RestartError(
            f"the command line and environment take {len(content)} bytes, more than {MAX_INVOCATION_BYTES}",
            hint="move long values into the file of --config",
        )
    try:
        descriptor = _sealed(content)
        try:
            argv = [sys.executable, "-I", "-m", "lattice_agent", f"{RESUME_FLAG}{descriptor}"]
            os.execve(sys.executable, argv, harmless(environ))  # noqa: S606 - no shell is wanted
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RestartError(f"cannot start again without secrets in argv: {error.strerror}") from None


def _sealed(content: bytes) -> int:
    """An inheritable descriptor of a memfd that holds ``content`` for good. ``main`` keeps the standard three taken."""
    memfd = os.memfd_create("lattice-invocation", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(memfd, "wb", closefd=False) as file:
        file.write(content)
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, _SEALS)
    os.set_inheritable(memfd, True)
    return memfd


def resume_descriptor(words: Sequence[str]) -> int | None:
    """The descriptor number if this process is the result of ``restart``, judged by its one argument."""
    if len(words) != 1 or not words[0].startswith(RESUME_FLAG):
        return None
    number = words[0].removeprefix(RESUME_FLAG)
    if not (number.isascii() and number.isdigit() and len(number) < 8):
        raise _not_ours(words[0])
    return int(number)


def adopt(descriptor: int) -> None:
    """Checks that the descriptor is a sealed memfd and keeps it from being inherited. Nothing is read yet."""
    try:
        os.set_inheritable(descriptor, False)
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        seals = 0
    if seals & _SEALS != _SEALS:
        raise _not_ours(f"{RESUME_FLAG}{descriptor}")


def receive(descriptor: int) -> Invocation:
    """Reads the original call and closes the descriptor. Raises UsageError if it was meant for another process."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        content = file.read(MAX_INVOCATION_BYTES + 1)
    try:
        sent = json.loads(content)
        invocation = Invocation(tuple(sent["words"]), dict(sent["environ"]))
        pid = sent["pid"]
    except (ValueError, TypeError, KeyError):
        raise _not_ours(f"{RESUME_FLAG}{descriptor}") from None
    if pid != os.getpid():
        raise _not_ours(f"{RESUME_FLAG}{descriptor}")
    return invocation


def restore_proxies(invocation: Invocation) -> None:
    """Puts the proxy variables back where the HTTP client looks for them: heap memory, not /proc/self/environ."""
    os.environ.update({name: value for name, value in invocation.environ.items() if name in PROXY_NAMES})


def _not_ours(argument: str) -> UsageError:
    return UsageError(
        f"{argument} does not name a call of this process",
        hint="the argument is internal: start lattice-agent without it",
    )
