"""Which cancelled tasks are remembered, and which are forgotten first."""

import pytest

from lattice_agent.tasks.cancels import Cancels


def nothing_is_here(_task_id: str) -> bool:
    return False


@pytest.mark.parametrize(("task_id", "is_one"), [("", False), ("a", True), ("ß" * 512, True), ("ß" * 512 + "a", False)])
def test_an_id_that_no_task_can_have_is_not_remembered(task_id: str, is_one: bool) -> None:
    cancels = Cancels(nothing_is_here)
    cancels.add(task_id)
    assert (task_id in cancels) is is_one


def test_of_1025_ids_the_one_that_was_told_first_is_forgotten() -> None:
    cancels = Cancels(nothing_is_here)
    for number in (*range(1_024), 0, 1_024):  # the first is told again
        cancels.add(f"t{number}")
    assert "t0" in cancels
    assert "t1" not in cancels
    assert all(f"t{number}" in cancels for number in range(2, 1_025))


def test_a_task_that_is_here_is_never_forgotten() -> None:
    cancels = Cancels({"t0", "t2"}.__contains__)
    for number in range(1_026):
        cancels.add(f"t{number}")
    assert [f"t{number}" in cancels for number in range(5)] == [True, False, True, False, True]
