import logging
from datetime import UTC, datetime

import pytest

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.collector import NAMED_LIMIT, UsageCollector
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.source import UsageSource

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Readings(UsageSource):
    """Gives one reading after the other; an error among them is raised."""

    collector_source = "http"

    def __init__(self, *readings: RawUsage | UsageSourceError) -> None:
        super().__init__(timeout_s=5.0)
        self._left = list(readings)
        self.is_closed = False

    async def _read(self) -> RawUsage:
        reading = self._left.pop(0)
        if isinstance(reading, UsageSourceError):
            raise reading
        return reading

    async def aclose(self) -> None:
        self.is_closed = True

    def __str__(self) -> str:
        return "the list"


async def test_a_good_reading_is_an_ok_snapshot_under_the_sources_name() -> None:
    snapshot = await UsageCollector(Readings(RawUsage({"a": 1}, core_uptime_s=9)), "node-1").collect(NOW)
    assert (snapshot.collector_status, snapshot.collector_source, snapshot.node_id) == ("ok", "http", "node-1")
    assert (snapshot.user_bytes, snapshot.core_uptime_sec) == ({"a": 1}, 9)
    assert snapshot.at == snapshot.collector_checked_at == NOW


async def test_the_observation_time_of_the_source_is_kept() -> None:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    snapshot = await UsageCollector(Readings(RawUsage({"a": 1}, at=then)), "node-1").collect(NOW)
    assert (snapshot.at, snapshot.collector_checked_at) == (then, NOW)


async def test_trap_12_an_empty_reading_is_health_only_and_forgets_nobody() -> None:
    readings = Readings(RawUsage({"a": 5, "b": 7}), RawUsage(), UsageSourceError("down"), RawUsage({"a": 6}))
    collector = UsageCollector(readings, "node-1")
    snapshots = [await collector.collect(NOW) for _ in range(4)]
    assert [one.collector_status for one in snapshots] == ["ok", "error", "error", "ok"]
    assert [one.user_bytes for one in snapshots] == [{"a": 5, "b": 7}, None, None, {"a": 6, "b": 7}]
    assert snapshots[1].core_uptime_sec == 0
    assert snapshots[2].collector_error == "down"


async def test_weak_point_26_an_illegal_id_is_named_once_and_the_others_are_billed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector = UsageCollector(Readings(*[RawUsage({"a": 5, "bob@host": 7, "x\ud800": 1})] * 3), "node-1")
    with caplog.at_level(logging.WARNING):
        snapshots = [await collector.collect(NOW) for _ in range(3)]
    assert all(one.user_bytes == {"a": 5} for one in snapshots)
    assert len(caplog.messages) == 2
    assert "'bob@host'" in caplog.messages[0]
    assert caplog.messages[1].isprintable()


async def test_what_is_remembered_of_illegal_ids_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    flood = [RawUsage({"a": 1} | {f"{turn} {i}": 1 for i in range(NAMED_LIMIT)}) for turn in range(2)]
    collector = UsageCollector(Readings(*flood), "node-1")
    with caplog.at_level(logging.WARNING):
        for _ in flood:
            await collector.collect(NOW)
    assert len(caplog.messages) == NAMED_LIMIT


async def test_closing_closes_the_source() -> None:
    source = Readings()
    await UsageCollector(source, "node-1").aclose()
    assert source.is_closed
