"""Reads that may hang, each under a deadline.

Theory of operation. A read of a dead disk or a stuck mount cannot be interrupted, only left behind. Jobs are done one
after another in one thread, which costs one thread's start for all of them. When a job overruns its deadline, its
thread is left behind, the jobs after it get a new one, and the late job is a miss: at once and without another thread
for as long as the old one hangs. So there are never more threads than jobs.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from lattice_agent.facts.errors import FactsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Missed:
    """A job without a result, and why."""

    reason: str


class DeadlineReader(Generic[T]):
    """Does named jobs, each within ``deadline_s`` seconds. For one caller at a time."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._hung: dict[str, _Round[T]] = {}

    def read(self, jobs: Mapping[str, Callable[[], T]]) -> dict[str, T | Missed]:
        """The result of each job, in their order, or why there is none; raises nothing that a job raises."""
        self._hung = {name: stuck for name, stuck in self._hung.items() if stuck.is_alive()}
        found: dict[str, T | Missed] = {}
        left = {name: job for name, job in jobs.items() if name not in self._hung}
        while left:
            done, late = self._one_round(left)
            found |= done
            if late:
                self._hung[late] = self._last
            left = {name: job for name, job in left.items() if name not in found and name != late}
        miss = Missed(f"not read within {self._deadline_s:g} s")
        return {name: found.get(name, miss) for name in jobs}

    def _one_round(self, jobs: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T | Missed], str]:
        self._last = _Round(jobs)
        self._last.start()
        return self._last.results_by(self._deadline_s)


class _Round(threading.Thread, Generic[T]):
    """One thread's worth of jobs; a daemon, so that one that hangs does not keep the program from ending."""

    def __init__(self, jobs: Mapping[str, Callable[[], T]]) -> None:
        super().__init__(name="facts", daemon=True)
        self._jobs = jobs
        self._state = threading.Condition()
        self._results: dict[str, T | Missed] = {}
        self._current = next(iter(jobs))
        self._since = time.monotonic()
        self._given_up = False

    def run(self) -> None:
        for name, job in self._jobs.items():
            with self._state:
                if self._given_up:
                    return
                self._current, self._since = name, time.monotonic()
            result = _attempt(job)
            with self._state:
                if self._given_up:
                    return
                self._results[name] = result
        with self._state:
            self._state.notify()

    def results_by(self, deadline_s: float) -> tuple[dict[str, T | Missed], str]:
        """What was done, and the name of the job that overran its deadline, "" if none did."""
        with self._state:
            while len(self._results) < len(self._jobs):
                left_s = self._since + deadline_s - time.monotonic()
                if left_s <= 0:
                    self._given_up = True
                    return self._results, self._current
                self._state.wait(left_s)
            return self._results, ""


def _attempt(job: Callable[[], T]) -> T | Missed:
    try:
        return job()
    except FactsError as error:
        return Missed(str(error))
    except Exception as error:  # noqa: BLE001  # facts are best effort; the reason is reported as a gap
        return Missed(f"{type(error).__name__}: {error}")
