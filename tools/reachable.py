"""Runs a command in a mount namespace of its own in which some paths can be reached by every user.

Usage: unshare --mount --propagation private python3 tools/reachable.py PATH... -- COMMAND...

For demonstrations as root: the checkout, or the Python it uses, may lie below a directory that only root may enter.
Such a directory is covered by an empty one, and the paths are mounted again at their places. Nothing outside the
namespace changes, and nothing is left when the command ends.
"""

import os
import stat
import subprocess
import sys
from pathlib import Path


def main() -> None:
    split = sys.argv.index("--")
    paths = [Path(argument).resolve() for argument in sys.argv[1:split]]
    covered = {path: barrier for path in paths if (barrier := first_barrier(path)) is not None}
    # Held open, because the covering hides them.
    held = {path: os.open(path, os.O_PATH) for path in covered}
    for barrier in sorted(set(covered.values())):
        mount("-t", "tmpfs", "-o", "mode=0755,size=1m", "tmpfs", str(barrier))
    for path, descriptor in held.items():
        path.mkdir(parents=True, exist_ok=True)
        # Not canonicalized: the link's text names a place that is covered by now, the link itself does not.
        mount("--no-canonicalize", "--bind", f"/proc/self/fd/{descriptor}", str(path), keep=descriptor)
        os.close(descriptor)
    command = sys.argv[split + 1 :]
    os.execvp(command[0], command)


def first_barrier(path: Path) -> Path | None:
    """The outermost directory on the way to ``path`` that others may not enter; None if there is none."""
    for parent in reversed(path.parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            return parent
    return None


def mount(*arguments: str, keep: int | None = None) -> None:
    subprocess.run(["mount", *arguments], check=True, pass_fds=() if keep is None else (keep,))


if __name__ == "__main__":
    main()
