"""Many mutants: chooses the tests of each, runs as many at once as it may, and gives the verdicts."""

import ast
import json
import os
import select
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from tests.mutants.change import Change
from tests.mutants.subjects import Subject
from tests.mutants.trial import Chosen, Survey, fork, run_tests, survey_into
from tests.mutants.walk import changes_of

SURVEY_SECONDS: Final = 60
LEAST_SECONDS: Final = 10
"""Of processor time for one mutant, and ten times what its tests take without it if that is more."""
TIMEOUT_SIGNALS: Final = {signal.SIGXCPU, signal.SIGKILL, signal.SIGALRM}


class Verdict(StrEnum):
    KILLED = "killed"
    TIMED_OUT = "timed out"
    """Its tests did not end in time: they noticed as well."""
    SURVIVED = "survived"


class BrokenError(Exception):
    """The machinery cannot say anything."""


@dataclass(frozen=True)
class Mutant:
    """A change of a module, with the tests that are to notice; the quickest first."""

    subject: Subject
    tree: ast.Module
    """Of the whole module, as it is: only the process of the trial changes it."""
    change: Change
    tests: tuple[str, ...]
    others: frozenset[str]
    """Tests of the module that do not come to this place."""
    seconds: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.subject.path, self.change.scope, self.change.text


def mutants_of(subject: Subject) -> list[Mutant]:
    """Every mutant of a module. Runs its tests once; BrokenError if they fail without a change."""
    survey = _survey(subject)
    quickest = sorted(survey.seconds, key=survey.seconds.__getitem__)
    found, tree = [], ast.parse(subject.source())
    for change in changes_of(tree):
        callers = survey.callers.get(change.scope, [])
        depends = not change.is_in_function or change.scope in survey.at_import
        tests = tuple(test for test in quickest if depends or test in callers)
        seconds = max(LEAST_SECONDS, round(10 * sum(survey.seconds[test] for test in tests)))
        found.append(Mutant(subject, tree, change, tests, frozenset(quickest).difference(tests), seconds))
    return found


def _survey(subject: Subject) -> Survey:
    with tempfile.TemporaryDirectory() as directory:
        notes, output = f"{directory}/notes", f"{directory}/output"
        tree = ast.parse(subject.source())
        _, status = os.waitpid(fork(lambda: survey_into(notes, subject, tree), output, SURVEY_SECONDS), 0)
        if status:
            raise BrokenError(f"{subject.path}: its tests fail without a change:\n{Path(output).read_text()}")
        return Survey(**json.loads(Path(notes).read_text()))


def try_all(mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, Verdict]]:
    """The verdict on each, as they come; ``jobs`` processes at once."""
    waiting = [mutant for mutant in reversed(mutants) if mutant.tests]
    yield from ((mutant, Verdict.SURVIVED) for mutant in mutants if not mutant.tests)
    running: dict[int, tuple[int, Mutant]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            pid = fork(_trial_of(mutant), os.devnull, mutant.seconds)
            running[os.pidfd_open(pid)] = (pid, mutant)
        ended, _, _ = select.select(list(running), [], [])
        for pidfd in ended:
            pid, mutant = running.pop(pidfd)
            os.close(pidfd)
            yield mutant, _verdict(mutant, os.waitpid(pid, 0)[1])


def _trial_of(mutant: Mutant) -> Callable[[], int]:
    return partial(_try, mutant)


def _try(mutant: Mutant) -> int:
    """In the process that is forked for it, which alone has this change in its tree."""
    mutant.change.apply()
    files = dict.fromkeys(test.partition("::")[0] for test in mutant.tests)
    return run_tests(mutant.subject, mutant.tree, tuple(files), Chosen(mutant.tests, mutant.others))


def _verdict(mutant: Mutant, status: int) -> Verdict:
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) in TIMEOUT_SIGNALS:
            return Verdict.TIMED_OUT
        raise BrokenError(f"{mutant.key}: its process was ended by signal {os.WTERMSIG(status)}")
    match os.WEXITSTATUS(status):
        case 0 | 5:  # 5: it took away what its tests were made for
            return Verdict.SURVIVED
        case 1 | 2:  # a test failed; a test module could not be loaded
            return Verdict.KILLED
        case code:
            raise BrokenError(f"{mutant.key}: pytest ended with {code}")
