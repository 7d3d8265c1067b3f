"""Reads that may hang, each under a deadline.

Theory of operation. A read of a dead disk or a stuck mount cannot be interrupted, only left behind. Jobs are done one
after another by a thread that is kept for them, because starting one costs more than most jobs. When a job overruns its
deadline, its thread is left behind, the jobs after it get a new one, and the late job is a miss: at once and without
another thread for as long as the old one hangs. So there are never more threads than jobs, and one.
"""

import errno
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from lattice_agent.facts.errors import FactsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Missed:
    """A job without a result, and why."""

    reason: str


class DeadlineReader(Generic[T]):
    """Does named jobs, each within ``deadline_s`` seconds. For one caller at a time; its thread ends with it."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._hung: dict[str, _Round[T]] = {}
        self._worker: SimpleQueue[_Round[T] | None] | None = None
        self._dismiss: Callable[[], object] = lambda: None

    def read(self, jobs: Mapping[str, Callable[[], T]]) -> dict[str, T | Missed]:
        """The result of each job, in their order, or why there is none; raises nothing that a job raises."""
        self._hung = {name: stuck for name, stuck in self._hung.items() if not stuck.over.is_set()}
        found: dict[str, T | Missed] = {}
        left = {name: job for name, job in jobs.items() if name not in self._hung}
        while left:
            stuck = _Round(left)
            self._hand_over(stuck)
            done, late = stuck.results_by(self._deadline_s)
            found |= done
            if late:
                self._hung[late] = stuck
                self._dismiss()  # it ends when its job does
                self._worker = None
            left = {name: job for name, job in left.items() if name not in found and name != late}
        miss = Missed(f"not read within {self._deadline_s:g} s")
        return {name: found.get(name, miss) for name in jobs}

    def _hand_over(self, jobs: "_Round[T]") -> None:
        if self._worker is None:
            inbox = SimpleQueue[_Round[T] | None]()
            # A daemon, so that one that hangs does not keep the program from ending.
            _start(threading.Thread(target=_work, args=(inbox,), name="facts", daemon=True))
            self._worker = inbox  # only now: where no thread can be started, none will read from it
            self._dismiss = weakref.finalize(self, inbox.put, None)
        self._worker.put(jobs)


def _start(thread: threading.Thread) -> None:
    """Raises OSError, as for other things that the machine has no more of."""
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "no thread can be started: the limit of processes, or of memory") from error


def _work(inbox: "SimpleQueue[_Round[T] | None]") -> None:
    while (jobs := inbox.get()) is not None:
        jobs.do()
        del jobs  # while nothing is to do, nothing is held


class _Round(Generic[T]):
    """Jobs that are handed to a thread together. ``over`` is set when it has done with them."""

    def __init__(self, jobs: Mapping[str, Callable[[], T]]) -> None:
        self.over = threading.Event()
        self._jobs = jobs
        self._state = threading.Condition()
        self._results: dict[str, T | Missed] = {}
        self._current = next(iter(jobs))
        self._since = time.monotonic()
        self._given_up = False

    def do(self) -> None:
        """The thread's side."""
        for name, job in self._jobs.items():
            with self._state:
                if self._given_up:
                    break
                self._current, self._since = name, time.monotonic()
            result = _attempt(job)
            with self._state:
                if self._given_up:
                    break
                self._results[name] = result
        self.over.set()
        with self._state:
            self._state.notify()

    def results_by(self, deadline_s: float) -> tuple[dict[str, T | Missed], str]:
        """The caller's side: what was done, and the name of the job that overran its deadline, "" if none did."""
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
