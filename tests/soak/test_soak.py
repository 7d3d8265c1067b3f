"""The soak itself, for a minute: it runs to its end, and it finds the leak of an agent that has one."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.course import Settings, soak
from tests.soak.report import REPOSITORY, Report, judged

pytestmark = [pytest.mark.long, pytest.mark.needs_root, pytest.mark.needs_node]
SECONDS = 60.0
SAMPLE_S = 1.0
LEAKY = Path(__file__).with_name("leaky_agent.py")


@pytest.fixture
def place() -> Iterator[Path]:
    """Not below /tmp: scripts in cells write to it."""
    (REPOSITORY / "build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-test-", dir=REPOSITORY / "build"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def finding(report: Report, who: str, what: str) -> str:
    return next(one.verdict for one in report.findings if (one.criterion.who, one.criterion.what) == (who, what))


def test_a_minute_loses_nothing_and_leaves_nothing(place: Path) -> None:
    """Too short for a word about memory, which still warms up; descriptors and cells are judged."""
    soak(Settings(SECONDS, place / "soak", sample_s=SAMPLE_S))
    report = judged(place / "soak")
    assert not report.course.faults
    assert not [one for one in report.failures if "memory" not in one], report.failures
    assert report.course.counts["ended targets"] >= 20
    assert report.course.billed_bytes > 0
    assert {fault for _, fault, _, _ in report.faults} >= {"control plane killed", "agent killed", "spawner killed"}


def test_a_leak_of_a_descriptor_a_task_is_found(place: Path) -> None:
    soak(Settings(SECONDS, place / "soak", sample_s=SAMPLE_S, agent=(sys.executable, "-I", LEAKY)))
    report = judged(place / "soak")
    assert not report.course.faults, "a leak loses no task"
    assert finding(report, "agent first", "fds") == "grows"
    assert any(one.startswith("descriptors of agent first") for one in report.failures), report.failures
    assert finding(report, "server", "fds") == "flat"
