"""From the files that a soak leaves to its verdict and its page."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.soak import report as report_module
from tests.soak.course import Course
from tests.soak.criteria import CRITERIA, Declared, find
from tests.soak.endings import HEADING as ENDINGS
from tests.soak.report import BEGIN, END, judged, lines_of, write_documents
from tests.soak.samples import HEADING as SAMPLES
from tests.soak.verdict import Verdict

WORK_S = (30.0, 1230.0)
Value = Callable[[str, str, float], float]


def flat(_who: str, what: str, _at: float) -> float:
    return {"unsent": 0, "work_directories": 0, "children": 2, "journal_rows": 500}.get(what, 50)


def left(folder: Path, value: Value = flat, **course: object) -> Path:
    """The files of a soak of 20 minutes in which ``value(who, what, seconds)`` was seen."""
    chance = random.Random(1)
    wanted = {(one.who, name) for one in CRITERIA for name in (one.what, getattr(one, "work", "")) if name}
    rows = [
        f"{at},{who},1,{what},{value(who, what, at) * chance.uniform(0.9999, 1.0001)}"
        for at in range(0, 1260, 15)
        for who, what in [*sorted(wanted), ("soak", "load1")]
    ]
    (folder / "samples.csv").write_text("\n".join([",".join(SAMPLES), *rows]))
    (folder / "faults.csv").write_text("at_s,fault,node,begins\n100,black hole,0,1\n109,black hole,0,0\n"
                                       "200,agent killed,1,1\n201,agent killed,1,0\n")  # fmt: skip
    (folder / "endings.csv").write_text(f"{','.join(ENDINGS)}\n40,task_1,first,sh,succeeded,0.1\n")
    done = Course(1200.0, 1, 4.0, 1000, *WORK_S, counts={"ended targets": 4800})
    (folder / "course.json").write_text(json.dumps(asdict(done) | course))
    return folder


def test_a_soak_in_which_nothing_grows_fails_in_nothing(tmp_path: Path) -> None:
    found = judged(left(tmp_path))
    assert found.failures == []
    assert {one.verdict for one in found.findings} == {Verdict.FLAT}


@pytest.mark.parametrize(
    ("who", "what", "per_s", "sentence"),
    [
        ("agent first", "fds", 1 / 60, "agent first: descriptors grows"),
        ("agent second", "heap_kib", 150 / 60, "agent second: memory of its own (anonymous) grows"),
        ("spawner first", "children", 1 / 60, "spawner first: cells and supervisors grows"),
        ("server", "used_bytes", 5000.0, "server: database, at its bound grows"),
        ("server", "threads", 1 / 60, "server: threads grows"),
    ],
)
def test_what_grows_is_named(tmp_path: Path, who: str, what: str, per_s: float, sentence: str) -> None:
    def leak(of: str, name: str, at: float) -> float:
        return flat(of, name, at) + (per_s * at if (of, name) == (who, what) else 0)

    failures = judged(left(tmp_path, leak)).failures
    assert any(one.startswith(sentence) for one in failures), failures
    assert all(who in one for one in failures)


@pytest.mark.parametrize(("minutes", "verdict"), [(20, Verdict.FLAT), (60, Verdict.GROWS)])
def test_a_mebibyte_is_no_growth_until_it_is_more(minutes: int, verdict: Verdict) -> None:
    """70 MiB a day: of 20 minutes ten are judged, and that is half a mebibyte; of an hour half an hour."""
    criterion = next(one for one in CRITERIA if one.what == "heap_kib")
    life = [(at, 50_000 + 70 * 1024 * at / 86_400) for at in range(0, minutes * 60, 15)]
    assert find(criterion, {(criterion.who, criterion.what): {1: life}}).verdict is verdict


def test_declared_growth_is_judged_for_each_task() -> None:
    criterion = next(one for one in CRITERIA if isinstance(one, Declared) and one.less)
    for each, verdict in ((criterion.tolerance * 0.9, Verdict.FLAT), (criterion.tolerance * 1.1, Verdict.GROWS)):
        times = [float(at) for at in range(0, 600, 12)]
        samples = {
            (criterion.who, criterion.work): {1: [(at, at * 4) for at in times]},
            (criterion.who, criterion.less): {1: [(at, at * 30_000) for at in times]},
            (criterion.who, criterion.what): {1: [(at, at * 30_000 + at * 4 * each) for at in times]},
        }
        assert find(criterion, samples).verdict is verdict


def test_what_is_left_at_rest_is_named(tmp_path: Path) -> None:
    def left_over(who: str, what: str, at: float) -> float:
        return flat(who, what, at) + 3 * ((who, what) == ("agent first", "work_directories") and at > WORK_S[1])

    (failure,) = judged(left(tmp_path, left_over)).failures
    assert failure.startswith("work directories of agent first: 0 at rest before the work, 3")


@pytest.mark.parametrize(("fds", "is_fault"), [(15, False), (30, True)])
def test_descriptors_of_cells_that_are_kept_ready_are_none_that_leak(
    tmp_path: Path, fds: float, is_fault: bool
) -> None:
    """Two more cells than before, by the demand."""

    def ready(who: str, what: str, at: float) -> float:
        more = {("spawner first", "children"): 2, ("agent first", "fds"): fds}.get((who, what), 0)
        return flat(who, what, at) + more * (at > WORK_S[1])

    assert bool(judged(left(tmp_path, ready)).failures) is is_fault


def test_what_a_short_run_cannot_tell_is_not_claimed(tmp_path: Path) -> None:
    """Five minutes: no memory is judged."""
    report = judged(left(tmp_path, load_until_s=330.0))
    assert report.failures == []
    unknown = [one for one in report.findings if one.verdict is Verdict.UNKNOWN]
    assert {one.criterion.what for one in unknown} >= {"pss_kib", "heap_kib"}
    assert "too short or too noisy to tell" in lines_of(report)[-1]


def test_faults_of_the_course_are_failures(tmp_path: Path) -> None:
    lost = judged(left(tmp_path, faults=["sh task_1: lost"], fault_count=61))
    assert lost.failures == ["sh task_1: lost", "and 60 more like the first"]


def test_the_page_and_the_picture_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document, drawing = tmp_path / "soak.md", tmp_path / "soak.svg"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(report_module, "DOCUMENT", document)
    monkeypatch.setattr(report_module, "PICTURE", drawing)
    write_documents(judged(left(tmp_path)))
    page = document.read_text()
    assert page.startswith("before\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "old" not in page
    assert f"**Nothing was lost; {len(CRITERIA)} of {len(CRITERIA)} quantities were seen not to grow.**" in page
    assert "| agent first | descriptors |" in page
    root = ElementTree.fromstring(drawing.read_text())
    text = "".join(root.itertext())
    assert "Memory of the agents (PSS)" in text
    assert "prefers-color-scheme: dark" in text
    classes = [element.get("class", "") for element in root.iter()]
    assert classes.count("death") == 8 + 1, "one in each chart, one in the legend"
    assert any("series one" in one for one in classes)
