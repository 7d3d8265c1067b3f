"""The config poll in virtual time."""

import logging
import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.report.config_poll import ConfigService
from lattice_agent.wire.config import IpConfig
from tests.golden_files import exchange
from tests.unit.report.test_heartbeat import ScriptedPlane


def service(plane: ScriptedPlane, features: Features, got: list[IpConfig | None]) -> ConfigService:
    line = Line(plane, LinkHealth())  # type: ignore[arg-type]  # stands in
    return ConfigService(line, features, interval_s=10, on_ip_config=got.append, rng=random.Random(1))


async def run_for(seconds: float, what: ConfigService) -> None:
    with trio.move_on_after(seconds):
        await what.run()


async def test_overrides_and_features_are_handed_on(autojump_clock: MockClock) -> None:
    plane, features, got = ScriptedPlane(), Features(), list[IpConfig | None]()
    announced: dict[str, Any] = {"lattice_ext": {"v": 1, "features": ["tasks.batch"]}}
    plane.answer = {**exchange("config-overrides").answer, **announced}
    await run_for(5, service(plane, features, got))
    assert [config.static_ipv4 if config else None for config in got] == ["9.9.9.9"]
    assert features.has("tasks.batch")


async def test_absence_restores_the_flags_and_ends_the_features(autojump_clock: MockClock) -> None:
    plane, features, got = ScriptedPlane(), Features(), list[IpConfig | None]()
    features.announced(["tasks.batch"])
    plane.answer = exchange("config-ok").answer
    await run_for(5, service(plane, features, got))
    assert got == [None]
    assert not features.has("tasks.batch")


@pytest.mark.parametrize("answer", [[], {"debug": 5}, {"ip_config": {"mode": 7}}])
async def test_an_answer_that_is_not_understood_keeps_the_old_configuration(
    autojump_clock: MockClock, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plane, features, got = ScriptedPlane(), Features(), list[IpConfig | None]()
    plane.answer = answer
    await run_for(5, service(plane, features, got))
    assert got == []
    assert "not understood" in caplog.text


async def test_weak_point_31_a_failing_poll_is_visible_and_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    plane, got = ScriptedPlane(), list[IpConfig | None]()
    plane.status = lambda path: None
    await run_for(1000, service(plane, Features(), got))
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(plane.seen) > 10
    assert len(lines) == 1
    assert "/api/agent/config" in lines[0].getMessage()


async def test_what_is_not_built_is_said_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    plane, got = ScriptedPlane(), list[IpConfig | None]()
    plane.answer = exchange("config-debug-collect").answer
    await run_for(100, service(plane, Features(), got))
    assert len(got) > 5
    assert caplog.text.count("debug collection") == 1


async def test_features_end_with_an_answer_that_is_otherwise_not_understood(autojump_clock: MockClock) -> None:
    plane, features, got = ScriptedPlane(), Features(), list[IpConfig | None]()
    features.announced(["results.batch"])
    plane.answer = {"ip_config": {"mode": 5}}
    await run_for(5, service(plane, features, got))
    assert not features.has("results.batch")
