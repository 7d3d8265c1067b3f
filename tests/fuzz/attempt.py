"""One input through one target: what went wrong, if anything did, by a name that is the same for the same fault."""

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.target import Target

MEMORY_BYTES: Final = 64 * 1024 * 1024
"""What an input may take at once."""
_NOTICED_S: Final = 0.005
"""Nobody can fill so much memory in less."""
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """``signature`` is the kind of error and the line of ours that it came from; ``text`` is for people."""

    signature: str
    text: str


def attempt(target: Target, data: bytes, *, patience: float = 1.0) -> Fault | None:
    """Run an input. ``patience`` multiplies the bound of time: a reader that is watched is slower."""
    began = time.process_time()
    fault = _run(target, data)
    if fault is not None:
        return fault
    cpu_s = time.process_time() - began
    if cpu_s > target.cpu_s * patience:
        return Fault("slow", f"slow: {len(data)} bytes took {cpu_s:.1f} s of processor time")
    if cpu_s > _NOTICED_S and _PEAK.has_moved() and (grown := _grown_by(target, data)) > MEMORY_BYTES:
        return Fault("large", f"large: {len(data)} bytes took {grown >> 20} MiB")
    return None


class _Peak:
    """The most memory that the process ever had, as far as it was looked at: what came little by little is not told."""

    def __init__(self) -> None:
        self._known = _memory("VmHWM:")

    def has_moved(self) -> bool:
        """Whether it is more than ``MEMORY_BYTES`` above what it was at the last look."""
        before, self._known = self._known, _memory("VmHWM:")
        return self._known - before > MEMORY_BYTES


def _grown_by(target: Target, data: bytes) -> int:
    """Bytes at most in use at once while the input is run once more (proc_pid_clear_refs(5): 5 forgets the peak)."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS:")
    _run(target, data)
    return _memory("VmHWM:") - before


def _memory(field: str) -> int:
    """Of this process, in bytes. Not getrusage(2), whose peak begins with that of the parent."""
    lines = Path("/proc/self/status").read_text("utf-8", "replace").split("\n")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


_PEAK: Final = _Peak()


def _run(target: Target, data: bytes) -> Fault | None:
    try:
        target.run(data)
    except (Exception, SystemExit) as error:
        unexpected = [leaf for leaf in _leaves(error) if not isinstance(leaf, target.allowed)]
        return _fault(unexpected[0]) if unexpected else None
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error


def _fault(error: BaseException) -> Fault:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    where = f"{Path(frames[-1].filename).relative_to(_ROOT)}:{frames[-1].lineno}" if frames else "nowhere of ours"
    said = " ".join(str(error).split())[:200]
    return Fault(f"{type(error).__name__} at {where}", f"{type(error).__name__} at {where}: {said!a}")


def _is_ours(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(_ROOT) and ".venv" not in path.parts and path != Path(__file__)
