"""Every input in the tree through its target: what was found once stays mended, and what is claimed to be tried is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from tests.fuzz.attempt import attempt
from tests.fuzz.readers import NOT_TRIED, PAGE, page, readers
from tests.fuzz.rooms import all_targets
from tests.fuzz.target import Target

TARGETS = all_targets()
ROOT = Path(__file__).parents[2]
PATIENCE = 5.0
"""The machine has others to serve, and a profile is taken; what is quadratic takes far longer than that."""
MODELS = (".wire.", ".answers", ".task_answers", ".orders", ".queries", ".metrics_detail")
"""Parts of names of modules that are models, which their library runs: no call in them can be seen."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_kept_input_breaks_anything_and_all_that_is_claimed_is_tried(target: Target) -> None:
    kept = target.kept_inputs()
    assert kept, f"{target.name} has no corpus"
    with called_files() as called:
        faults = {path.name: fault for path in kept if (fault := attempt(target, path.read_bytes(), patience=PATIENCE))}

    assert not faults
    missed = {module for module in target.reads if _file(module) not in called and not _is_of_models(module)}
    assert not missed, f"no input of {target.name} reaches them"


def test_every_module_that_reads_is_tried_or_has_a_reason() -> None:
    table = readers()
    assert {module for module, names in table.items() if not names} == set(NOT_TRIED)


def test_the_page_has_the_tables_as_they_are() -> None:
    text = PAGE.read_text("utf-8")
    assert text == page(text), "python -m tests.fuzz.readers writes them anew"


def test_names_of_targets_are_their_own_and_every_folder_is_of_a_target() -> None:
    names = [target.name for target in TARGETS]
    assert len(names) == len(set(names))
    folders = {path.name for kind in ("corpus", "found") for path in (Path(__file__).parent / kind).iterdir()}
    assert folders <= {*names, "planted.frame", "planted.level", "planted.pairs"}


@contextmanager
def called_files() -> Iterator[set[str]]:
    """The files of all functions that are called meanwhile, in this thread."""
    called: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(None)


def _file(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    return str(path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py")


def _is_of_models(module: str) -> bool:
    return any(part in f"{module}." for part in MODELS)
