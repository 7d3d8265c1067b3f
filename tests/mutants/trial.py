"""The tests against one mutant, in a process of its own that was forked for it and ends with the verdict.

The module is not loaded yet when the process begins, so whoever imports it gets the mutant. What is slow to load and
cannot depend on it (the test runner, the packages, the wire's models) was loaded before, once for all.
"""

import ast
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

import hypothesis
import pytest

from tests.mutants.subjects import Subject

OPTIONS: Final = ("-x", "-q", "--assert=plain", *("-p", "no:anyio", "-p", "no:faulthandler"))
"""One failure is enough and nobody reads how it came about: assertions go without being explained."""
MEMORY_BYTES: Final = 4 * 2**30
"""Address space of a mutant; the tests need a tenth. One that collects without end fails here."""
LONGEST_WAIT_S: Final = 120


class MutantLoader(SourceFileLoader):
    """Loads the module from a syntax tree in place of its source."""

    def __init__(self, subject: Subject, tree: ast.Module) -> None:
        super().__init__(subject.module, str(subject.root / subject.path))
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        return compile(ast.fix_missing_locations(self._tree), self.path, "exec")


class MutantFinder(MetaPathFinder):
    """Finds the mutant first."""

    def __init__(self, loader: MutantLoader) -> None:
        self._loader = loader

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self._loader.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)


class Repeatable:
    """Makes verdicts repeat: hypothesis draws the same examples each time, few, and looks for no smaller ones."""

    @pytest.hookimpl(trylast=True)  # after tests/conftest.py, which loads a profile as well
    def pytest_configure(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutants", deadline=None, derandomize=True, database=None, phases=phases, max_examples=25
        )
        hypothesis.settings.load_profile("mutants")


class Chosen:
    """Runs these tests, in this order, and none of the ``others``. A test that was not there before runs as well, last:
    its parameters were made by the mutant."""

    def __init__(self, tests: Sequence[str], others: Set[str]) -> None:
        self._place = {test: place for place, test in enumerate(tests)}
        self._others = others

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid not in self._others]
        items[:] = sorted(chosen, key=lambda item: self._place.get(item.nodeid, len(self._place)))


@dataclass
class Survey:
    """What the tests do with the module as it is. Seconds of each test; the tests that call each function."""

    seconds: dict[str, float] = field(default_factory=dict)
    callers: dict[str, list[str]] = field(default_factory=dict)
    at_import: list[str] = field(default_factory=list)
    """Functions that are called while modules are loaded: all tests depend on them."""


class Surveyor:
    """Notes which test calls which function of the module."""

    def __init__(self, subject: Subject) -> None:
        self.survey = Survey()
        self._file = str(subject.root / subject.path)
        self._module = subject.module
        self._test = ""
        sys.setprofile(self._on_event)

    def _on_event(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call" or frame.f_code.co_filename != self._file:
            return
        name = frame.f_code.co_qualname.partition(".<locals>")[0]
        known = self.survey.callers.setdefault(name, []) if self._test else self.survey.at_import
        if (entry := self._test or name) not in known[-1:]:
            known.append(entry)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._forget_answers()
        self._test, begun = item.nodeid, time.perf_counter()
        result = yield
        self.survey.seconds[item.nodeid] = time.perf_counter() - begun
        self._test = ""
        return result

    def _forget_answers(self) -> None:
        """A function that remembers its answers would seem to be called by the first test only."""
        for value in vars(sys.modules[self._module]).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def run_tests(subject: Subject, tree: ast.Module, tests: Sequence[str], *plugins: object) -> int:
    """pytest's exit code for these tests, with the module as the tree has it."""
    sys.meta_path.insert(0, MutantFinder(MutantLoader(subject, tree)))
    sys.path.insert(0, str(subject.root))
    os.chdir(subject.root)
    return int(pytest.main([*OPTIONS, *tests], plugins=[Repeatable(), *plugins]))


def survey_into(path: str, subject: Subject, tree: ast.Module) -> int:
    """Runs all tests on the unchanged module and writes down what they did."""
    surveyor = Surveyor(subject)
    code = run_tests(subject, tree, subject.tests, surveyor)
    sys.setprofile(None)
    with open(path, "w") as file:
        json.dump(vars(surveyor.survey), file)
    return code


def fork(work: Callable[[], int], output: str, seconds: int) -> int:
    """A process that ends with what ``work`` gives, or by a signal once it has used ``seconds`` of processor time, or
    waited for so long that something else must be wrong. Gives its id."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, LONGEST_WAIT_S + 20 * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)  # whatever the parent had put there
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:  # whatever happens, the child never returns into the parent's code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
