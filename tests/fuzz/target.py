"""A target is a value: a function of bytes, the errors that it may end with, and which modules it tries."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
LONGEST: Final = 65_536
"""Bytes of an input; what a bound of time or memory is about."""


@dataclass(frozen=True)
class Target:
    """``run`` feeds one input to the reader and checks what came of it. It ends with one of ``allowed``, or returns;
    an AssertionError says that an oracle did not hold, and anything else that the reader is broken."""

    name: str
    """Room and subject, such as ``usage.document``: the file of ``tests/fuzz/targets`` that has it, and its corpus."""

    reads: tuple[str, ...]
    """The modules whose reading is tried. A test sees to it that the corpus really calls each of them."""

    run: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = ()
    oracle: str = ""
    """What must hold beside "nothing else is raised", for the table of docs/fuzzing.md."""

    words: tuple[str, ...] = ()
    """Words of the format, offered to the mutation."""

    longest: int = LONGEST
    cpu_s: float = 1.0
    """Processor time that an input of the longest kind may take."""

    @property
    def corpus(self) -> Path:
        """Small inputs as they occur, by hand or recorded."""
        return FOLDER / "corpus" / self.name

    @property
    def found(self) -> Path:
        """What the fuzzer found once: regression inputs."""
        return FOLDER / "found" / self.name

    def kept_inputs(self) -> list[Path]:
        """All inputs in the tree, in the order of their paths."""
        folders = (self.corpus, self.found)
        return sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())
