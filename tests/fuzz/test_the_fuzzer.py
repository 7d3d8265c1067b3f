"""The fuzzer itself: it finds faults that were planted, of each kind, and says nothing of a reader without."""

from pathlib import Path

import pytest

from tests.fuzz import planted
from tests.fuzz.__main__ import report
from tests.fuzz.attempt import attempt
from tests.fuzz.campaign import Hunted, Plan, hunt
from tests.fuzz.finding import minimised
from tests.fuzz.rooms import find
from tests.fuzz.target import Target

LONGEST_S = 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "signature", "runs"),
    [
        ("planted.frame", "IndexError", 20_000),
        ("planted.level", "AssertionError", 10_000),
        ("planted.pairs", "slow", 5),
        ("planted.hoard", "large", 5),
    ],
)
def test_a_planted_fault_is_found_within_so_many_inputs(tmp_path: Path, name: str, signature: str, runs: int) -> None:
    target = find(name)

    hunted = hunt(target, Plan(LONGEST_S, seed=1, folder=tmp_path / "work", runs=runs, found=tmp_path / "found"))

    assert any(f": {signature}" in finding for finding in hunted.findings), hunted
    assert len(list((tmp_path / "found").iterdir())) == len(hunted.findings)
    assert hunted.executions <= runs


@pytest.mark.parametrize(
    ("findings", "trouble", "code"), [((), "", 0), (("found/x: KeyError",), "", 1), ((), "the worker ended with 1", 1)]
)
def test_the_command_fails_when_something_was_found(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    findings: tuple[str, ...],
    trouble: str,
    code: int,
) -> None:
    hunted = Hunted("usage.document", 1000, 20, 3, findings, trouble)
    monkeypatch.setattr("tests.fuzz.__main__.hunt_all", lambda *_: iter([hunted, hunted]))

    ended = report(planted.TARGETS, Plan(1, 1, Path("unused")), 1)

    assert ended == code
    shown = capsys.readouterr().out
    assert f"2000 executions, {2 * len(findings)} findings" in shown
    assert all(text in shown for text in (*findings, trouble))


def test_an_input_gets_as_small_as_its_fault_allows() -> None:
    small = minimised(b"much before LTC\x01 and much after" * 50, lambda data: b"LTC\x01" in data)

    assert small == b"LTC\x01"


def test_errors_that_are_declared_are_no_fault_and_all_others_are() -> None:
    def read(data: bytes) -> None:
        raise ValueError if data == b"declared" else KeyError

    target = Target("test.errors", (), read, (ValueError,))

    assert attempt(target, b"declared") is None
    fault = attempt(target, b"another")
    assert fault is not None
    assert fault.signature.startswith("KeyError at tests/fuzz/test_the_fuzzer.py:")


def test_errors_in_a_group_count_one_by_one() -> None:
    def read(data: bytes) -> None:
        raise ExceptionGroup("both", [ValueError(), *([KeyError()] if data else [])])

    target = Target("test.groups", (), read, (ValueError,))

    assert attempt(target, b"") is None
    fault = attempt(target, b"x")
    assert fault is not None
    assert fault.signature.startswith("KeyError")


def test_the_planted_faults_do_not_show_in_what_they_are_seeded_with() -> None:
    for target in planted.TARGETS:
        assert target.kept_inputs()
        for path in target.kept_inputs():
            assert attempt(target, path.read_bytes()) is None
