"""One input through one target: what went wrong, if anything did, by a name that is the same for the same fault."""

import resource
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.target import Target

MEMORY_BYTES: Final = 64 * 1024 * 1024
"""How far an input may move the most memory that the process ever had."""
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """``signature`` is the kind of error and the line of ours that it came from; ``text`` is for people."""

    signature: str
    text: str


def attempt(target: Target, data: bytes, *, patience: float = 1.0) -> Fault | None:
    """Run an input. ``patience`` multiplies the bound of time: a reader that is watched is slower."""
    began, memory = time.process_time(), _most_memory()
    fault = _run(target, data)
    if fault is not None:
        return fault
    cpu_s, grown = time.process_time() - began, _most_memory() - memory
    if cpu_s > target.cpu_s * patience:
        return Fault("slow", f"slow: {len(data)} bytes took {cpu_s:.1f} s of processor time")
    if grown > MEMORY_BYTES:
        return Fault("large", f"large: {len(data)} bytes took {grown >> 20} MiB")
    return None


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


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
