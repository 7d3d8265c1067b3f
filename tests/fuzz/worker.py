"""One target in a process of its own, under atheris: bytes are changed in the direction of code not seen before.

Started by ``tests.fuzz.campaign``. Findings go to the target's folder as they come, each fault once; the engine's own
record goes to standard error. The process ends by the engine's hand, so nothing may be left to do at its end.
"""

import argparse
import random
import sys
from pathlib import Path
from typing import Final

import atheris  # type: ignore[import-untyped]  # publishes no type information

from tests.fuzz import mutation
from tests.fuzz.attempt import attempt
from tests.fuzz.finding import keep, minimised
from tests.fuzz.rooms import find
from tests.fuzz.target import Target

PATIENCE: Final = 8.0
"""How much slower a reader may be that is watched, on a machine with others."""
OURS: Final = ("lattice_agent", "server_stub", "tests.fuzz.targets", "tests.fuzz.planted")
SHARE_OF_FORM: Final = 0.5
"""Inputs that are changed by ``mutation``; the engine changes the others."""


class Hunt:
    """What is done with each input."""

    def __init__(self, target: Target, found: Path) -> None:
        self._target = target
        self._found = found
        self._known: set[str] = set()
        self._words = tuple(word.encode() for word in target.words)

    def try_kept(self) -> None:
        """Kept inputs as they are and made as long as may be; a fault that is known is not reported again."""
        for path in self._target.kept_inputs():
            data = path.read_bytes()
            if (fault := attempt(self._target, data, patience=PATIENCE)) is not None:
                self._known.add(fault.signature)
                print(f"found: {path}: {fault.text}", file=sys.stderr, flush=True)
        for path in self._target.kept_inputs():
            data = path.read_bytes()
            self.take(data * (self._target.longest // max(len(data), 1)))

    def take(self, data: bytes) -> None:
        """One input of the engine's."""
        fault = attempt(self._target, data, patience=PATIENCE)
        if fault is None or fault.signature in self._known:
            return
        self._known.add(fault.signature)
        small = data if fault.signature in ("slow", "large") else minimised(data, self._is_same(fault.signature))
        print(f"found: {keep(self._found, small)}: {fault.text}", file=sys.stderr, flush=True)

    def change(self, data: bytes, most: int, seed: int) -> bytes:
        """An input made from another one."""
        rng = random.Random(seed)
        if rng.random() < SHARE_OF_FORM:
            data = mutation.changed(data, most, rng, self._words)
            if rng.random() < 0.7:
                return data
        return bytes(atheris.Mutate(data, most))

    def _is_same(self, signature: str) -> "_Same":
        return _Same(self._target, signature)


class _Same:
    def __init__(self, target: Target, signature: str) -> None:
        self._target = target
        self._signature = signature

    def __call__(self, data: bytes) -> bool:
        fault = attempt(self._target, data, patience=PATIENCE)
        return fault is not None and fault.signature == self._signature


def main() -> None:
    """Does not return: the engine ends the process. Words that are not known here are for the engine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--found", type=Path, help="folder of findings, the target's own unless given")
    given, engine = parser.parse_known_args()
    with atheris.instrument_imports(include=list(OURS)):
        target = find(given.target)
    hunt = Hunt(target, given.found or target.found)
    hunt.try_kept()
    atheris.Setup([sys.argv[0], *engine], hunt.take, custom_mutator=hunt.change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
