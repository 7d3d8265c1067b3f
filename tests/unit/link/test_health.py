"""One line per change, however often it is tried."""

import logging

import pytest

from lattice_agent.link.health import LinkHealth, LinkState, Transition
from lattice_agent.link.verdict import Kind, Verdict

OK = Verdict(Kind.OK, "status 200")
DOWN = Verdict(Kind.UNREACHABLE, "no connection", "look at the network")
NO_TOKEN = Verdict(Kind.UNAUTHORIZED, "status 401", "check the token")


def test_a_change_is_told_once() -> None:
    told: list[Transition] = []
    health = LinkHealth(told.append)
    for now_s, verdict in enumerate([OK, OK, DOWN, DOWN, DOWN, NO_TOKEN, OK, OK]):
        health.note("/metrics", verdict, float(now_s))
    assert [(change.before and change.before.verdict.kind, change.after.verdict.kind) for change in told] == [
        (None, Kind.OK),
        (Kind.OK, Kind.UNREACHABLE),
        (Kind.UNREACHABLE, Kind.UNAUTHORIZED),
        (Kind.UNAUTHORIZED, Kind.OK),
    ]
    assert told[2].before == LinkState(DOWN, since_s=2.0, attempts=3)


def test_paths_are_apart_and_can_be_looked_at() -> None:
    health = LinkHealth(lambda change: None)
    assert (health.latest, health.last_ok_s, health.of("/a")) == (None, None, None)
    health.note("/a", OK, 1.0)
    health.note("/b", DOWN, 2.0)
    assert health.of("/a") == LinkState(OK, 1.0, 1)
    assert health.latest == health.of("/b") == LinkState(DOWN, 2.0, 1)
    assert health.last_ok_s == 1.0


def test_weak_point_31_a_refused_token_is_one_error_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    health = LinkHealth()
    health.note("/metrics", OK, 0.0)
    for now_s in range(100):
        health.note("/metrics", NO_TOKEN, float(now_s + 10))
    health.note("/metrics", OK, 110.0)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "/metrics: unauthorized: status 401; check the token"),
        (logging.INFO, "/metrics: ok again after 100 attempts and 100 s of unauthorized"),
    ]


def test_a_flood_of_paths_does_not_grow_it() -> None:
    health = LinkHealth(lambda change: None)
    for number in range(1000):
        health.note(f"/{number}", OK, 0.0)
    assert sum(health.of(f"/{number}") is not None for number in range(1000)) == 64
    assert health.of("/999") is not None
