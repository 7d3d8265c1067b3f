"""What a soak has shown: judged from the files that its course left, and written down."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from server_stub.readable import size
from tests.soak.course import Course
from tests.soak.criteria import CRITERIA, Declared, Finding, Samples, between, find, restless
from tests.soak.endings import counted
from tests.soak.plot import Mark, picture
from tests.soak.samples import read_samples
from tests.soak.verdict import Verdict

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = REPOSITORY / "docs" / "soak.md"
PICTURE: Final = REPOSITORY / "docs" / "soak.svg"
BEGIN, END = "<!-- the last run: written by python -m tests.soak -->", "<!-- end of the last run -->"


@dataclass(frozen=True)
class Report:
    """``failures``: sentences, none if all is well."""

    course: Course
    samples: Samples
    findings: Sequence[Finding]
    failures: Sequence[str]
    faults: Sequence[tuple[float, str, str, bool]]
    """(seconds, which, node, whether it begins)"""
    outcomes: dict[str, Any]

    @property
    def ends_s(self) -> float:
        return max(
            (points[-1][0] for lives in self.samples.values() for points in lives.values() if points), default=1.0
        )


def judged(out: Path) -> Report:
    """Reads what ``course.soak`` left in ``out``."""
    course = Course(**json.loads((out / "course.json").read_text()))
    samples = read_samples(out / "samples.csv")
    work = between(samples, course.load_from_s, course.load_until_s)
    findings = [find(criterion, work) for criterion in CRITERIA]
    grown = [
        f"{one.criterion.who}: {one.criterion.name} grows: {_slope(one)}"
        for one in findings
        if one.verdict is Verdict.GROWS
    ]
    with (out / "faults.csv").open(newline="") as file:
        faults = [(float(at), fault, node, begins == "1") for at, fault, node, begins in list(csv.reader(file))[1:]]
    end_s = max(points[-1][0] for lives in samples.values() for points in lives.values() if points)
    failures = [*course.faults, *restless(samples, course.load_from_s, end_s), *grown]
    if course.fault_count > len(course.faults):
        failures.append(f"and {course.fault_count - len(course.faults)} more like the first")
    return Report(course, samples, findings, failures, faults, counted(out / "endings.csv"))


# --- words -----------------------------------------------------------------------------------------------------------


def table(findings: Sequence[Finding]) -> str:
    """In Markdown."""
    lines = [
        "| process | quantity | at the end | slope | may grow | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in findings:
        criterion = one.criterion
        level = size(int(one.level)) if criterion.unit == "B" else _number(one.level, criterion.unit)
        cells = criterion.who, criterion.name, level, _slope(one), _allowed(one), one.verdict
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _slope(one: Finding) -> str:
    if one.verdict is Verdict.UNKNOWN:
        return "-"
    unit, trend = one.criterion.unit, one.trend
    ends = f"{_signed(trend.low)} to {_signed(trend.high)}"
    return f"{_signed(trend.slope)} ({ends}) {unit} {_per(one)}".replace("  ", " ")


def _signed(value: float) -> str:
    if not value:
        return "0"
    return f"{value:+,.0f}" if 100 <= abs(value) < math.inf else f"{value:+.2g}"


def _allowed(one: Finding) -> str:
    return f"{_number(one.allowed, one.criterion.unit)} {_per(one)}"


def _per(one: Finding) -> str:
    return "a task" if isinstance(one.criterion, Declared) else "a day"


def _number(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".strip() if abs(value) < 1000 else f"{value:,.0f} {unit}".strip()


def lines_of(report: Report) -> list[str]:
    """For the terminal."""
    course = report.course
    done = f"{course.counts.get('ended targets', 0):,} targets in {course.load_until_s - course.load_from_s:.0f} s"
    verdict = f"{len(report.failures)} failures" if report.failures else in_short(report)
    return [table(report.findings), "", f"seed {course.seed}: {done}. {verdict}", *report.failures]


def in_short(report: Report) -> str:
    """Of a soak without a failure: no more than what it has shown."""
    flat = sum(one.verdict is Verdict.FLAT for one in report.findings)
    rest = len(report.findings) - flat
    sentence = f"Nothing was lost; {flat} of {len(report.findings)} quantities were seen not to grow"
    return f"{sentence}, of {rest} this run is too short or too noisy to tell." if rest else f"{sentence}."


# --- docs/soak.md ----------------------------------------------------------------------------------------------------


def write_documents(report: Report) -> None:
    """The picture, and the part of the page that is about the last run."""
    kills = ("killed", "restarted")
    open_faults: dict[tuple[str, str], float] = {}
    marks = []
    for at, fault, node, begins in report.faults:
        if begins:
            open_faults[fault, node] = at
        else:
            marks.append(Mark(open_faults.pop((fault, node), at), at, fault.endswith(kills)))
    PICTURE.write_text(picture(report.samples, marks, report.ends_s))
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{last_run(report)}\n\n{END}{rest.partition(END)[2]}")


def last_run(report: Report) -> str:
    """In Markdown."""
    course, place = report.course, report.course.machine
    load = median([value for _, value in report.samples["soak", "load1"][1]])
    minutes = (course.load_until_s - course.load_from_s) / 60
    counts = "; ".join(f"{count:,} {what}" for what, count in course.counts.items())
    verdict = "\n".join(f"- {one}" for one in report.failures) if report.failures else f"**{in_short(report)}**"
    paragraphs = [
        f"{course.date}: {minutes:.1f} minutes of work with seed {course.seed}, as {place['uid']}, on {place['cpu']},"
        f" Linux {place['kernel']}, Python {place['python']}; load of the machine {load:.1f} in the median.",
        verdict,
        f"Counted: {counts}. Billed to the byte on both nodes: {course.billed_bytes:,} bytes.",
        "Faults: " + ", ".join(f"{fault} {count}" for fault, count in _faults(report).items()) + ".",
        table(report.findings),
        outcomes_table(report),
    ]
    return "\n\n".join(paragraphs)


def _faults(report: Report) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, fault, _, begins in report.faults:
        found[fault] = found.get(fault, 0) + begins
    return dict(sorted(found.items()))


def outcomes_table(report: Report) -> str:
    lines = ["| script | ended as |", "| --- | --- |"]
    for kind, outcomes in sorted(report.outcomes.items()):
        told = ", ".join(f"{outcome.replace('_', ' ')} {count}" for outcome, count in sorted(outcomes.items()))
        lines.append(f"| {kind} | {told} |")
    return "\n".join(lines)
