"""From fork to exec: how a forked child of the supervisor becomes the script's interpreter (protocol 3.3, 3.4).

``become_script`` is the whole order, top to bottom. Between fork and exec nothing is imported, logged or allocated
that was not there before; an error travels to the supervisor through a pipe that the exec closes.
"""

from __future__ import annotations

import os

import prctl

from lattice_agent.exec.kernel import descriptors, rlimits, signals
from lattice_agent.exec.requests import Run, triples

EXIT_NOT_STARTED = 126
"""Status of a child that could not become the script; the reason is in the pipe."""
_REASON_LIMIT = 1024
_ERROR_FD = 3
_UMASK = 0o077


class StartError(Exception):
    """The interpreter could not be executed; the message names the step and the operating system's reason."""


def start(run: Run, stdout: int, stderr: int) -> int:
    """Fork the main process of a run; its process id once the interpreter was executed. Raises StartError.

    Blocks until the exec, which a file system may delay; the agent's clock and the spawner's SIGKILL end that.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        become_script(run, stdout, stderr, write_end)
    os.close(write_end)
    reason = os.read(read_end, _REASON_LIMIT)
    os.close(read_end)
    if reason:
        os.waitpid(pid, 0)
        raise StartError(reason.decode("utf-8", "replace"))
    return pid


def become_script(run: Run, stdout: int, stderr: int, error_pipe: int) -> None:
    """Never returns: the process is the interpreter, or writes the reason to ``error_pipe`` and exits 126."""
    step, report_to = "set up", error_pipe
    try:
        os.setsid()  # its process id names the session: how "left the main session" is recognised later
        null = os.open("/dev/null", os.O_RDONLY)
        descriptors.place((null, stdout, stderr, error_pipe))
        os.set_inheritable(_ERROR_FD, False)
        report_to = _ERROR_FD
        descriptors.keep_only({0, 1, 2, _ERROR_FD})
        step = "enter " + os.fsdecode(run.directory)
        os.chdir(run.directory)
        for number, soft, hard in triples(run.limits):
            rlimits.apply(number, soft, hard)
        step = "no_new_privs"
        prctl.set_no_new_privs(1)
        os.umask(_UMASK)
        signals.unblock_all()
        step = "exec " + os.fsdecode(run.argv[0])
        os.execve(run.argv[0], run.argv, _environment(run))  # noqa: S606 - an exec without a shell is the point
    except OSError as error:
        os.write(report_to, f"{step}: {error.strerror}".encode("utf-8", "surrogateescape"))
    finally:
        os._exit(EXIT_NOT_STARTED)


def _environment(run: Run) -> dict[bytes, bytes]:
    return {name: value for name, _, value in (item.partition(b"=") for item in run.environment)}
