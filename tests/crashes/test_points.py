"""The crash points fit the source, their processes pass them, and nothing of them is in what is installed."""

import importlib.util
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tests.crashes import hook, points, scenes, table
from tests.crashes.hook import AFTER, BEFORE, AnchorError, Fuse, Place, compiled
from tests.crashes.points import POINTS

ROOT = Path(__file__).parents[2]
SOURCE = b"""
def go(steps):
    steps.append(1)
    if steps:
        steps.append(2)
    return len(steps)
"""
LIMIT_S = 120.0
"""To build a wheel, on a machine that is busy with other things."""


def place(anchor: str, side: str) -> Place:
    return Place("here", "module", anchor, side)


def order(*places: Place) -> list[object]:
    """What happens in which order when the source is compiled with these places and run."""
    steps: list[object] = []
    names = {hook.PASSING: steps.append}
    exec(compiled(SOURCE, "module.py", places), names)
    return [names["go"](steps), *steps]  # type: ignore[operator]


def test_every_point_is_at_one_statement_of_its_module() -> None:
    modules: dict[str, list[points.Point]] = {}
    for point in POINTS:
        modules.setdefault(point.module, []).append(point)
    for module, there in modules.items():
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        compiled(Path(spec.origin).read_bytes(), spec.origin, there)


def test_every_point_has_a_name_a_process_and_a_scene_of_its_own() -> None:
    assert max(Counter(point.name for point in POINTS).values()) == 1
    assert {point.process for point in POINTS} == set(points.PROCESSES)
    assert {point.scene for point in POINTS} == scenes.SCENES.keys()


def test_before_after_and_behind_the_value_of_a_return() -> None:
    assert order(place("steps.append(1)", BEFORE)) == [3, "here", 1, 2]
    assert order(place("steps.append(1)", AFTER)) == [3, 1, "here", 2]
    assert order(place("if steps:", BEFORE)) == [3, 1, "here", 2]
    assert order(place("return len(steps)", BEFORE)) == [3, 1, 2, "here"]
    assert order(place("return len(steps)", AFTER)) == [2, 1, 2, "here"]


@pytest.mark.parametrize("anchor", ["steps.append", "steps.append(3)", "pass", ""])
def test_a_statement_that_is_not_there_is_an_error(anchor: str) -> None:
    with pytest.raises(AnchorError, match="0 statements"):
        compiled(SOURCE, "module.py", [place(anchor, BEFORE)])


def test_a_statement_that_is_there_twice_is_an_error() -> None:
    with pytest.raises(AnchorError, match="2 statements"):
        compiled(SOURCE.replace(b"append(2)", b"append(1)"), "module.py", [place("steps.append(1)", BEFORE)])


def test_a_fuse_lets_pass_what_it_does_not_name_and_counts(tmp_path: Path) -> None:
    fuse = Fuse(tmp_path / "fuse")
    fuse.passing("here")
    fuse.lay("here", 3)
    program = (
        "import sys; from pathlib import Path; from tests.crashes.hook import Fuse; fuse = Fuse(Path(sys.argv[1]))\n"
        "for name in ('there', 'here', 'here', 'there', 'here', 'here'):\n"
        "    print(name, flush=True); fuse.passing(name)"
    )
    words = [sys.executable, "-c", program, str(fuse.path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (ended.returncode, ended.stdout.split()) == (-9, ["there", "here", "here", "there", "here"])
    assert not fuse.lies
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert again.returncode == 0


def test_the_document_has_every_row_and_no_blank() -> None:
    rows = [line.strip("|").split("|") for line in table.CRASHES.written().splitlines()[2:]]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[0] for row in cells] == list(table.CRASHES.rows)
    assert all(len(row) == 1 + len(table.COLUMNS) and all(row) for row in cells)


@pytest.mark.long
def test_nothing_of_it_is_in_the_wheel(tmp_path: Path) -> None:
    """What is installed is what is in the source tree: neither points nor hook, nor any test."""
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w"]
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, timeout=LIMIT_S, check=True)
    for name in tracked.stdout.decode().split("\0"):
        if name.startswith(("lattice_agent/", "server_stub/")) or ("/" not in name and name):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*words, str(tmp_path), str(source)], cwd=tmp_path, timeout=LIMIT_S, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        packages = {name.partition("/")[0] for name in names}
        modules = {name: archive.read(name) for name in names if name.endswith(".py")}
        whole = b"".join(archive.read(name) for name in names)
    assert packages == {"lattice_agent", "server_stub"}
    assert modules == {str(path.relative_to(ROOT)): path.read_bytes() for path in production_modules()}
    assert not re.search(rb"crash_point|tests\.crashes", whole)


def production_modules() -> list[Path]:
    return [path for package in ("lattice_agent", "server_stub") for path in (ROOT / package).rglob("*.py")]
