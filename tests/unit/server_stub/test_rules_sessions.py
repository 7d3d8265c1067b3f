"""How long a session lives, how many there are, and where a sign-in may lead."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.rules.local_paths import local_path
from server_stub.rules.sessions import ABSOLUTE, IDLE, MOST, Session, ended_by_another, is_alive, is_to_be_noted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def session(used: timedelta, created: timedelta | None = None, digest: bytes = b"d") -> Session:
    """Used and created so long ago."""
    return Session(digest, "ada", "csrf", NOW - (used if created is None else created), NOW - used)


def test_a_session_ends_when_it_is_not_used_and_after_a_week() -> None:
    assert is_alive(session(IDLE), NOW)
    assert not is_alive(session(IDLE + SECOND), NOW)
    assert is_alive(session(SECOND, ABSOLUTE), NOW)
    assert not is_alive(session(SECOND, ABSOLUTE + SECOND), NOW)


def test_twelve_hours_without_use_and_a_week_in_all_and_ten_at_once() -> None:
    assert (timedelta(hours=12), timedelta(days=7), 10) == (IDLE, ABSOLUTE, MOST)
    assert not is_alive(session(timedelta(hours=12) + SECOND), NOW)
    assert not is_alive(session(SECOND, timedelta(days=7) + SECOND), NOW)
    sessions = [session(timedelta(minutes=age), digest=bytes([age])) for age in range(12)]
    assert ended_by_another(sessions, NOW) == sessions[9:]


def test_use_is_noted_every_five_minutes() -> None:
    assert not is_to_be_noted(session(timedelta(minutes=5) - SECOND), NOW)
    assert is_to_be_noted(session(timedelta(minutes=5)), NOW)


@given(st.lists(st.integers(0, 1_000), max_size=30))
def test_another_session_leaves_the_newest_that_live(ages: list[int]) -> None:
    sessions = [session(timedelta(minutes=age), digest=bytes([n])) for n, age in enumerate(ages)]
    ended = ended_by_another(sessions, NOW)
    kept = [one for one in sessions if one not in ended]
    assert len(kept) <= MOST - 1
    assert all(is_alive(one, NOW) for one in kept)
    living = [one for one in ended if is_alive(one, NOW)]
    if kept and living:
        assert max(one.used_at for one in living) <= min(one.used_at for one in kept)
        assert len(kept) == MOST - 1


def test_a_path_has_1024_characters_at_most() -> None:
    assert local_path("/" + "a" * 1_023, "/home") == "/" + "a" * 1_023
    assert local_path("/" + "a" * 1_024, "/home") == "/home"


@pytest.mark.parametrize("path", ["/", "/nodes", "/nodes/a:b.c-d?range=7d", "/audit?q=a%26b+c", "/tasks/t?node=x%2Fy"])
def test_paths_of_ours(path: str) -> None:
    assert local_path(path, "/home") == path


@pytest.mark.parametrize(
    "path",
    ["", "//evil", "///evil", "/\\evil", "\\\\evil", "https://evil", "javascript:alert(1)", " /x", "/x\n", "/a b",
     "/\x00", "/é", "/" + "a" * 2_000, "/@evil", "/x#y"],
)  # fmt: skip
def test_everything_else_leads_home(path: str) -> None:
    assert local_path(path, "/home") == "/home"
