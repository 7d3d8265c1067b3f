"""Trouble is told once."""

import logging

import pytest

from lattice_agent.complaints import MOST, Complaints

LOG = logging.getLogger("lattice_agent.test")


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Complaints:
    caplog.set_level(logging.INFO)
    return Complaints(LOG)


def test_once_for_each_reason_and_once_when_it_is_over(
    complaints: Complaints, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("disk full", "disk full", "disk read-only", "disk full"):
        complaints.say("disk", text)
    complaints.over("disk", "disk works")
    complaints.over("disk", "disk works")
    assert caplog.messages == ["disk full", "disk read-only", "disk full", "disk works"]


def test_subjects_do_not_silence_each_other(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    complaints.say("a", "full")
    complaints.say("b", "full")
    assert caplog.messages == ["full", "full"]


def test_what_is_remembered_is_bounded(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MOST + 1):
        complaints.say(str(number), "full")
    caplog.clear()
    complaints.say("0", "full")  # forgotten, so told again
    complaints.say(str(MOST), "full")
    assert caplog.messages == ["full"]
