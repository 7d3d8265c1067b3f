"""Bugs planted on purpose: each patch of ``planted/`` in a copy of the tree, and the first seed that notices it."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.sim.world import run_seed

ROOT = Path(__file__).resolve().parents[2]
PATCHES = tuple(sorted((Path(__file__).parent / "planted").glob("*.patch")))
SEEDS_LIMIT = 500
LIMIT_S = 1_800.0
"""For one patch; what 500 seeds take on one slow core."""
_COPIED = ("lattice_agent", "server_stub", "tests")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "hosts", "golden", "node_modules")


@dataclass(frozen=True)
class Noticed:
    """``seed`` is None when no seed has noticed it. ``why``: the first invariant that did not hold."""

    patch: str
    seed: int | None
    why: str
    without_it: tuple[str, ...]
    """What the same seed violates in the tree as it is."""

    @property
    def is_found(self) -> bool:
        return self.seed is not None and not self.without_it

    def __str__(self) -> str:
        if self.seed is None:
            return f"{self.patch:<40} NOT FOUND in {SEEDS_LIMIT} seeds"
        plain = "green without it" if not self.without_it else f"NOT GREEN without it: {self.without_it[0]}"
        return f"{self.patch:<40} seed {self.seed:<4} {self.why}; {plain}"


def look_for(patch: Path, jobs: int) -> Noticed:
    """Seeds 0, 1, 2 and so on, until one notices it."""
    with _patched(patch) as place:
        command = [
            sys.executable,
            "-m",
            "tests.sim",
            "--until-failure",
            "--seeds",
            str(SEEDS_LIMIT),
            "--jobs",
            str(jobs),
        ]
        run = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
    found = re.search(r"^seed (\d+) +FAILED.*\n +(.*)$", run.stdout, re.MULTILINE)
    if found is None:
        return Noticed(patch.stem, None, "", ())
    seed, why = int(found[1]), found[2].partition(":")[0]
    return Noticed(patch.stem, seed, why, run_seed(seed).violations)


@contextmanager
def _patched(patch: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lattice-planted-") as directory:
        place = Path(directory)
        for name in _COPIED:
            shutil.copytree(ROOT / name, place / name, ignore=_LEFT_OUT, symlinks=True)
        subprocess.run(["git", "apply", str(patch)], cwd=place, check=True, timeout=30)
        yield place


def applies(patch: Path) -> bool:
    """To the tree as it is."""
    return subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, timeout=30).returncode == 0
