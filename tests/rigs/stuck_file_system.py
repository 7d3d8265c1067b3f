"""Runs a command that sees a file system which never answers: ``python -m tests.rigs.stuck_file_system DIR COMMAND...``

The file system is a FUSE one whose server never reads a request: whoever looks below DIR waits, as on a dead network
mount, until it is killed or the server is gone. It is mounted in a mount namespace of its own; the command takes the
place of this process, and the server, a child that does nothing, dies with it. Needs root and /dev/fuse.
"""

import os
import signal
import sys

import prctl

from lattice_agent.exec.kernel import mounts, namespaces

CLONE_NEWNS = 0x20000


def mount_stuck(target: str) -> int:
    """Mounts it; returns the server's descriptor."""
    namespaces.unshare(CLONE_NEWNS)
    mounts.make_private()
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    mounts.mount("fuse", target, 0, f"fd={server},rootmode=40000,user_id=0,group_id=0")
    return server


def hold(parent: int) -> None:
    """The server: keeps its descriptor and answers nothing, for as long as the parent lives."""
    prctl.set_pdeathsig(signal.SIGKILL)
    while os.getppid() == parent:
        signal.pause()


def main() -> None:
    target, *command = sys.argv[1:]
    server = mount_stuck(target)
    parent = os.getpid()
    if os.fork() == 0:
        hold(parent)
        os._exit(0)
    os.close(server)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
