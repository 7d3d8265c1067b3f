"""Which modules are changed, and which tests have to notice: those that mirror the module, and others that are quick.

Only tests in this process count. That a wrong decision would also show in a real run, some minutes later, is no reason
to have it untested here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.rigs.evidence import REPOSITORY

RULES: Final = "server_stub/rules"
UNIT: Final = "tests/unit"
STUB: Final = f"{UNIT}/server_stub"
_DECIDE: Final = {
    "lattice_agent/tasks/decide.py": (f"{UNIT}/tasks/test_decide.py", f"{UNIT}/tasks/test_cancels.py"),
    "lattice_agent/exec/policy.py": (f"{UNIT}/exec/test_policy.py", f"{UNIT}/exec/test_policy_properties.py"),
    "lattice_agent/exec/outcome.py": (f"{UNIT}/exec/test_outcome.py", f"{UNIT}/tasks/test_outcomes.py"),
    "lattice_agent/usage/ledger.py": (
        f"{UNIT}/usage/test_ledger.py",
        f"{UNIT}/usage/test_ledger_proof.py",
        f"{UNIT}/usage/test_ledger_account.py",
        f"{UNIT}/usage/test_books.py",
        f"{UNIT}/usage/test_billing.py",
    ),
}
_OTHER_TESTS_OF_RULES: Final = {
    "accounts": ("usage", "usage_ledger"),
    "alerts": ("accounts",),
    "base_endings": ("outcomes",),
    "run_endings": ("outcomes",),
    "states": ("outcomes", "results"),
    "script_header": ("policy_preview",),
    "local_paths": ("sessions",),
    "usage_report": ("usage", "usage_ledger"),
}
"""Rules whose tests are, wholly or in part, in those of other rules."""


@dataclass(frozen=True)
class Subject:
    """A module that is changed. Paths are below ``root``."""

    path: str
    tests: tuple[str, ...]
    root: Path = REPOSITORY

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".")

    def source(self) -> str:
        return (self.root / self.path).read_text()


def subjects() -> list[Subject]:
    """All of them, the riskiest first. Raises LookupError for a rule without a test."""
    rules = sorted(path for path in (REPOSITORY / RULES).glob("*.py") if path.name != "__init__.py")
    return [Subject(path, tests) for path, tests in _DECIDE.items()] + [_of_rule(path.stem) for path in rules]


def _of_rule(name: str) -> Subject:
    candidates = [f"{STUB}/test_rules_{test}.py" for test in (name, *_OTHER_TESTS_OF_RULES.get(name, ()))]
    tests = tuple(test for test in candidates if (REPOSITORY / test).exists())
    if not tests:
        raise LookupError(f"{RULES}/{name}.py: no test mirrors it; write one, or name others in {__name__}")
    return Subject(f"{RULES}/{name}.py", tests)
