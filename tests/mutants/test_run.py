"""A module of a few lines goes through the whole run: what its test notices, what it does not, and what never ends."""

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


def toy_in(directory: Path, module: str = MODULE) -> Subject:
    (directory / "pytest.ini").write_text("[pytest]\naddopts = -p no:schemathesis\n")
    (directory / "toy.py").write_text(module)
    (directory / "test_toy.py").write_text(TESTS)
    return Subject("toy.py", ("test_toy.py",), directory)


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> list[Mutant]:
    return mutants_of(toy_in(tmp_path_factory.mktemp("toy")))


def in_time(mutant: Mutant) -> Mutant:
    """The one that never ends need not have ten seconds."""
    return replace(mutant, seconds=1) if "n -= 1" in mutant.change.text else mutant


def test_verdicts(mutants: list[Mutant]) -> None:
    chosen = {
        "return a if a > b else b => return a if a <= b else b": Verdict.KILLED,
        "return a if a > b else b => return a if a >= b else b": Verdict.SURVIVED,
        "without n -= 1": Verdict.TIMED_OUT,
        "n > 0 => n > -1": Verdict.KILLED,
        "return n + 1 => return n - 1": Verdict.SURVIVED,
    }
    tried = [in_time(mutant) for mutant in mutants if mutant.change.text in chosen]
    assert {mutant.change.text: verdict for mutant, verdict in try_all(tried, jobs=2)} == chosen


def test_a_mutant_meets_the_tests_that_come_to_its_place(mutants: list[Mutant]) -> None:
    tests = {mutant.change.scope: set(mutant.tests) for mutant in mutants}
    # Called while the tests are loaded, so any of them may depend on it; by one test; by none.
    assert len(tests["larger"]) == 3
    assert tests["down"] == {"test_toy.py::test_down"}
    assert tests["never"] == set()


def test_tests_that_fail_without_a_change_say_nothing(tmp_path: Path) -> None:
    toy = toy_in(tmp_path, MODULE.replace("a > b", "a < b"))
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


def test_an_equivalent_change_that_no_module_has_is_found(tmp_path: Path) -> None:
    toy = toy_in(tmp_path)
    listed = reasons("toy.py never\nreturn n + 1 => return n - 1\nNobody\n  asks.\n\ntoy.py never\ngone => away\nOld.")
    assert listed["toy.py", "never", "return n + 1 => return n - 1"] == "Nobody asks."
    assert unmatched(listed, [toy]) == {("toy.py", "never", "gone => away")}


def test_the_share_is_of_those_that_can_be_noticed_and_never_rounded_up(mutants: list[Mutant]) -> None:
    (mutant, *_) = mutants
    one, other = Tally(equivalent=3), Tally()
    for number in range(999):
        one.add(mutant, Verdict.KILLED if number else Verdict.TIMED_OUT)
    other.add(mutant, Verdict.SURVIVED)
    assert list(one.cells().values()) == ["1002", "998", "1", "0", "3", "100.0 %"]
    assert list(summed([one, other, other]).cells().values()) == ["1004", "998", "1", "2", "3", "99.8 %"]
    assert survivor_line(mutant) == f"toy.py:3 larger\n    {mutant.change.text}"
