"""A mount namespace that a test made: file systems that are full, small or read-only, for processes it starts.

    with own_mounts("mount -t tmpfs -o size=4m tmpfs /some/place") as mounts:
        subprocess.run([*mounts.enter, "touch", "/some/place/file"])

Nobody outside sees them, and with the last process in it they are gone.
"""

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OUTER_S = 600
"""No such namespace is older than this."""
LIMIT_S = 30


@dataclass(frozen=True)
class Mounts:
    """The namespace, held by the process ``holder``."""

    holder: int

    @property
    def enter(self) -> tuple[str, ...]:
        """Put before a command, brings it in."""
        return ("nsenter", f"--mount=/proc/{self.holder}/ns/mnt", "--")

    def path(self, inside: Path | str) -> Path:
        """A path in there, as it is reached from outside."""
        return Path(f"/proc/{self.holder}/root{inside}")

    def run(self, *argv: str | Path) -> str:
        """Runs a program to its end in there, and returns what it printed."""
        done = subprocess.run([*self.enter, *argv], cwd="/", capture_output=True, text=True, timeout=LIMIT_S)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout


@contextmanager
def own_mounts(*commands: str) -> Iterator[Mounts]:
    """Runs shell ``commands`` in a new mount namespace from which nothing spreads; it ends with the block."""
    script = "; ".join(["set -e", *commands, "echo", f"exec sleep {OUTER_S}"])
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline(), f"no namespace with {commands}"
            yield Mounts(holder.pid)
        finally:
            holder.kill()


def small_disk(place: Path, *, size: str = "8m", inodes: int = 0, options: Sequence[str] = ()) -> str:
    """A shell command that mounts a tmpfs of this size, with so many inodes at most (0: any number)."""
    words = [f"size={size}", *([f"nr_inodes={inodes}"] if inodes else []), "mode=0755", *options]
    where = shlex.quote(str(place))
    return f"mkdir -p {where}; mount -t tmpfs -o {','.join(words)} tmpfs {where}"


def fill(directory: Path) -> Path:
    """Takes every block that is left on its file system; returns the file that has them."""
    filler = directory / "filler"
    block = bytes(65_536)
    with filler.open("wb", buffering=0) as file:
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]
    return filler


def use_up_inodes(directory: Path) -> list[Path]:
    """Makes empty files until there is no inode for another; returns them."""
    made: list[Path] = []
    try:
        while True:
            file = directory / f"filler-{len(made)}"
            file.touch()
            made.append(file)
    except OSError:
        return made
