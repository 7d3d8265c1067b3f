"""Many targets, one after the other on each core: what each did is read from the engine's record."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.fuzz.finding import keep
from tests.fuzz.target import Target

HANG_S: Final = 60
"""After so long in one input the engine ends the process, and the input is a finding."""
_MEMORY_MIB: Final = 2_048
_START_S: Final = 120
"""For a worker to import, try what is kept, and end; on a machine that others use as well."""
_ROOT: Final = Path(__file__).parents[2]
_DONE: Final = re.compile(r"^#(\d+)\s+DONE\s+(?:cov: (\d+) )?", re.MULTILINE)
_FOUND: Final = re.compile(r"^found: (.*)$", re.MULTILINE)
_UNITS: Final = re.compile(r"^stat::new_units_added:\s+(\d+)$", re.MULTILINE)
HALTED: Final = "halted: "
"""How a finding begins that ended its worker: it hung, or took all memory."""


@dataclass(frozen=True)
class Hunted:
    """What became of one target."""

    name: str
    executions: int
    coverage: int
    """Branches and comparisons seen, as the engine counts them."""
    new_inputs: int
    """Inputs that reached something that none in the tree does."""
    findings: tuple[str, ...]
    trouble: str = ""
    """Why the worker ended without a record; the end of what it said."""

    def __str__(self) -> str:
        counts = f"{self.executions:>9} executions  {self.coverage:>5} seen  {self.new_inputs:>5} new inputs"
        lines = (f"{self.name:<24}{counts}  {len(self.findings)} findings", *self.findings, self.trouble)
        return "\n    ".join(line for line in lines if line)


@dataclass(frozen=True)
class Plan:
    """How long each target is tried (``runs`` 0: as many as fit), from which seed, and where what is met is kept.

    ``found`` None: findings go to the targets' own folders.
    """

    seconds: int
    seed: int
    folder: Path
    runs: int = -1
    found: Path | None = None


def hunt_all(targets: tuple[Target, ...], plan: Plan, workers: int) -> Iterator[Hunted]:
    """Each as it ends, in the order given."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(partial(hunt, plan=plan), targets)


def hunt(target: Target, plan: Plan) -> Hunted:
    """One target in a worker."""
    own = plan.folder / target.name
    (own / "inputs").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lattice-fuzz-", dir=_memory()) as scratch:
        said, code = _worked(_command(target, plan, own), plan, scratch)
    (own / "record").write_text(said)
    findings = (*_FOUND.findall(said), *_halts(target, plan, own))
    return _read(target.name, said, findings, code)


def _worked(command: list[str], plan: Plan, scratch: str) -> tuple[str, int]:
    """What the worker said, and its exit code. ``scratch`` is for files of its own: it ends by the engine's hand."""
    environment = {**os.environ, "PYTHONHASHSEED": str(plan.seed), "TMPDIR": scratch}
    longest = plan.seconds + _START_S
    try:
        ended = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, timeout=longest)
    except subprocess.TimeoutExpired as late:
        return (late.stderr or b"").decode("utf-8", "replace") + "\nnot over in time", 1
    return ended.stderr.decode("utf-8", "replace"), ended.returncode


def _memory() -> str | None:
    """Where files cost no disk, if there is such a place."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def _command(target: Target, plan: Plan, own: Path) -> list[str]:
    folders = [own / "inputs", *(folder for folder in (target.corpus, target.found) if folder.is_dir())]
    # A seed of its own for each, or neighbours would make the same changes.
    seed = int.from_bytes(hashlib.sha256(f"{plan.seed} {target.name}".encode()).digest()[:3]) + 1
    return [
        *(sys.executable, "-m", "tests.fuzz.worker", target.name),
        *(("--found", str(plan.found)) if plan.found else ()),
        *(f"-max_total_time={plan.seconds}", f"-runs={plan.runs}", f"-seed={seed}", f"-max_len={target.longest}"),
        *(
            f"-timeout={HANG_S}",
            f"-rss_limit_mb={_MEMORY_MIB}",
            f"-artifact_prefix={own}/halt-",
            "-print_final_stats=1",
        ),
        *map(str, folders),
    ]


def _halts(target: Target, plan: Plan, own: Path) -> Iterator[str]:
    """Inputs that ended the engine, moved to where findings are."""
    for path in sorted(own.glob("halt-*")):
        kept = keep(plan.found or target.found, path.read_bytes())
        yield f"{kept}: {HALTED}{path.name.removeprefix('halt-').partition('-')[0]}"
        path.unlink()


def _read(name: str, said: str, findings: tuple[str, ...], code: int) -> Hunted:
    done, units = _DONE.search(said), _UNITS.search(said)
    if done is None or code:
        trouble = "" if findings else said[-2000:]
        return Hunted(name, 0, 0, 0, findings, trouble or (f"the worker ended with {code}" if not findings else ""))
    return Hunted(name, int(done[1]), int(done[2] or 0), int(units[1]) if units else 0, findings)
