"""A module of a few lines goes through the whole run: what its test notices, what it does not, and what never ends."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.equivalent import LIST, reasons, unmatched
from tests.mutants.report import Tally, summed, survivor_line
from tests.mutants.run import BrokenError, Mutant, Verdict, mutants_of, try_all
from tests.mutants.subjects import Subject, subjects

MODULE = """
def larger(a, b):
    return a if a > b else b

def down(n):
    while n > 0:
        n -= 1
    return n

def never(n):
    return n + 1
"""
TESTS = """
import toy, pytest

@pytest.mark.parametrize("value", [toy.larger(2, 1), toy.larger(1, 2)])
def test_larger(value):
    assert value == 2

def test_down():
    assert toy.down(3) == 0
"""


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Subject]:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "toy.py").write_text(MODULE)
    (tmp_path / "test_toy.py").write_text(TESTS)
    return Subject("toy.py", ("test_toy.py",), tmp_path)


def in_time(mutant: Mutant) -> Mutant:
    """The one that never ends need not have ten seconds."""
    return replace(mutant, seconds=2) if "n -= 1" in mutant.change.text else mutant


def test_verdicts(toy: Subject) -> None:
    chosen = {
        "return a if a > b else b => return a if a <= b else b": Verdict.KILLED,
        "return a if a > b else b => return a if a >= b else b": Verdict.SURVIVED,
        "return a if a > b else b => None": Verdict.KILLED,
        "without n -= 1": Verdict.TIMED_OUT,
        "n > 0 => n > -1": Verdict.KILLED,
        "return n + 1 => return n - 1": Verdict.SURVIVED,
    }
    mutants = [in_time(mutant) for mutant in mutants_of(toy) if mutant.change.text in chosen]
    verdicts = {mutant.change.text: verdict for mutant, verdict in try_all(mutants, jobs=2)}
    assert verdicts == {text: verdict for text, verdict in chosen.items() if text in verdicts}
    assert len(verdicts) == 5


def test_a_mutant_meets_the_tests_that_come_to_its_place(toy: Subject) -> None:
    tests = {mutant.change.scope: set(mutant.tests) for mutant in mutants_of(toy)}
    # Called while the tests are loaded, so any of them may depend on it; by one test; by none.
    assert len(tests["larger"]) == 3
    assert tests["down"] == {"test_toy.py::test_down"}
    assert tests["never"] == set()


def test_tests_that_fail_without_a_change_say_nothing(toy: Subject) -> None:
    (toy.root / "toy.py").write_text(MODULE.replace("a > b", "a < b"))
    with pytest.raises(BrokenError, match=r"(?s)toy.py: its tests fail without a change.*test_larger"):
        mutants_of(toy)


def test_the_list_of_equivalent_changes_is_one_of_changes_that_are_there_each_with_a_reason() -> None:
    listed = reasons(LIST.read_text())
    assert not unmatched(listed, subjects())
    assert all(reason.endswith(".") for reason in listed.values())


@pytest.mark.parametrize(
    "text", ["a.py f\nx => y", "a.py\nx => y\nWhy.", "a.py f\nx => y\nWhy.\n\na.py f\nx => y\nNo."]
)
def test_a_block_of_that_list_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a block"):
        reasons(text)


def test_an_equivalent_change_that_no_module_has_is_found(toy: Subject) -> None:
    listed = reasons("toy.py never\nreturn n + 1 => return n - 1\nNobody\n  asks.\n\ntoy.py never\ngone => away\nOld.")
    assert listed["toy.py", "never", "return n + 1 => return n - 1"] == "Nobody asks."
    assert unmatched(listed, [toy]) == {("toy.py", "never", "gone => away")}


def test_the_share_is_of_those_that_can_be_noticed_and_never_rounded_up(toy: Subject) -> None:
    (mutant, *_) = mutants_of(toy)
    one, other = Tally(equivalent=3), Tally()
    for number in range(999):
        one.add(mutant, Verdict.KILLED if number else Verdict.TIMED_OUT)
    other.add(mutant, Verdict.SURVIVED)
    assert list(one.cells().values()) == ["1002", "998", "1", "0", "3", "100.0 %"]
    assert list(summed([one, other, other]).cells().values()) == ["1004", "998", "1", "2", "3", "99.8 %"]
    assert survivor_line(mutant) == f"toy.py:3 larger\n    {mutant.change.text}"
