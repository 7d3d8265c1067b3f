"""Reads under deadlines: what hangs is left behind, and nothing else is lost or late."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lattice_agent.facts.deadline import DeadlineReader, Missed
from lattice_agent.facts.errors import FactsError

DEADLINE_S = 0.2
OUTER_S = 20.0
LATE = Missed("not read within 0.2 s")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a job that hangs waits for; open at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


def hanging(gate: threading.Event, started: list[str] | None = None) -> Callable[[], str]:
    def job() -> str:
        if started is not None:
            started.append("hangs")
        gate.wait(OUTER_S)
        return "too late"

    return job


def facts_threads() -> int:
    return sum(thread.name == "facts" for thread in threading.enumerate())


def test_results_come_in_the_order_of_the_jobs() -> None:
    found = DeadlineReader[str](DEADLINE_S).read({name: lambda name=name: name.upper() for name in "dacb"})
    assert list(found.items()) == [("d", "D"), ("a", "A"), ("c", "C"), ("b", "B")]


def test_nothing_to_do_is_done() -> None:
    assert DeadlineReader[str](DEADLINE_S).read({}) == {}


def test_a_job_that_fails_costs_itself_only_and_says_why() -> None:
    def refused() -> str:
        raise FactsError("/proc/x: Permission denied")

    def broken() -> str:
        raise ZeroDivisionError("division by zero")

    found = DeadlineReader[str](DEADLINE_S).read({"a": refused, "b": broken, "c": lambda: "C"})
    assert found == {
        "a": Missed("/proc/x: Permission denied"),
        "b": Missed("ZeroDivisionError: division by zero"),
        "c": "C",
    }


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_job_that_hangs_is_missed_and_the_others_are_done(gate: threading.Event, place: int) -> None:
    jobs: dict[str, Callable[[], str]] = {name: lambda name=name: name.upper() for name in "abc"}
    name = "abc"[place]
    jobs[name] = hanging(gate)
    found = DeadlineReader[str](DEADLINE_S).read(jobs)
    assert found == {other: LATE if other == name else other.upper() for other in "abc"}


def test_while_it_hangs_it_is_not_started_again_and_costs_no_time(gate: threading.Event) -> None:
    started: list[str] = []
    reader = DeadlineReader[str](DEADLINE_S)
    jobs = {"bad": hanging(gate, started), "good": lambda: "fine"}
    reader.read(jobs)
    threads = facts_threads()
    before = time.monotonic()
    for _ in range(20):
        assert reader.read(jobs) == {"bad": LATE, "good": "fine"}
    assert time.monotonic() - before < 20 * DEADLINE_S  # it would have been twenty deadlines
    assert started == ["hangs"]
    assert facts_threads() <= threads


def test_when_it_comes_back_it_is_read_again(gate: threading.Event) -> None:
    before = set(threading.enumerate())
    reader = DeadlineReader[str](DEADLINE_S)
    assert reader.read({"bad": hanging(gate)}) == {"bad": LATE}
    (stuck,) = set(threading.enumerate()) - before
    gate.set()
    stuck.join(OUTER_S)
    assert reader.read({"bad": lambda: "back"}) == {"bad": "back"}


def test_several_that_hang_have_a_thread_each_and_a_deadline_each(gate: threading.Event) -> None:
    before = set(threading.enumerate())
    reader = DeadlineReader[str](DEADLINE_S)
    found = reader.read({"a": hanging(gate), "b": lambda: "B", "c": hanging(gate), "d": lambda: "D"})
    assert found == {"a": LATE, "b": "B", "c": LATE, "d": "D"}
    assert len(set(threading.enumerate()) - before) == 3  # two that hang, and the one that does the rest


def test_one_thread_does_all_collections_and_ends_with_its_reader() -> None:
    before = set(threading.enumerate())
    reader = DeadlineReader[str](DEADLINE_S)
    ran_in: list[threading.Thread] = []

    def job() -> str:
        ran_in.append(threading.current_thread())
        return "done"

    for _ in range(5):
        reader.read({"a": job, "b": job})
    (worker,) = set(ran_in)
    assert worker not in before
    del reader
    worker.join(OUTER_S)
    assert not worker.is_alive()


def test_a_job_that_ends_after_its_deadline_does_not_come_into_a_later_answer(gate: threading.Event) -> None:
    before = set(threading.enumerate())
    reader = DeadlineReader[str](DEADLINE_S)
    ran: list[str] = []

    def second() -> str:
        ran.append(threading.current_thread().name)
        return "B"

    first = hanging(gate, ran)
    assert reader.read({"a": first, "b": second}) == {"a": LATE, "b": "B"}
    left_behind = set(threading.enumerate()) - before
    gate.set()
    del reader
    for thread in left_behind:
        thread.join(OUTER_S)
        assert not thread.is_alive()
    assert ran == ["hangs", "facts"]  # the thread that was left behind does not go on with the rest
