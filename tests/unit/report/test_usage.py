"""Usage reports: in order, one at a time, a failing source told as such."""

import json
import random
from datetime import UTC, datetime

import trio
from trio.testing import MockClock

from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.report.usage import UsageService
from lattice_agent.wire.usage import UsageSnapshot
from tests.unit.report.test_heartbeat import ScriptedPlane


class Counting:
    """A source that counts its readings; every third one fails."""

    def __init__(self) -> None:
        self.readings = 0

    async def collect(self, now_wall: datetime) -> UsageSnapshot:
        self.readings += 1
        await trio.sleep(0.1)
        if self.readings % 3 == 0:
            return UsageSnapshot(at=now_wall, collector_status="error", collector_error=f"gone {self.readings}")
        return UsageSnapshot(at=now_wall, user_bytes={"alice": self.readings}, collector_status="ok")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_weak_point_10_a_report_of_unknown_fate_is_repeated_before_a_newer_one(autojump_clock: MockClock) -> None:
    plane, source = ScriptedPlane(), Counting()
    plane.status = lambda path: None if 50 < trio.current_time() < 200 else 200
    service = UsageService(
        Line(plane, LinkHealth()),  # type: ignore[arg-type]  # stands in
        source,
        node_id="node-1",
        interval_s=10,
        wall_now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        rng=random.Random(1),
    )
    with trio.move_on_after(400):
        await service.run()
    sent = [(at, json.dumps(body["snapshot"])) for at, _, body, _ in plane.seen]
    distinct = list(dict.fromkeys(body for _, body in sent))
    assert len(distinct) == source.readings  # every reading was delivered, none twice as a new one
    assert [body for _, body in sent] == sorted((body for _, body in sent), key=distinct.index)  # and in order
    assert len({body for at, body in sent if 50 < at < 200}) == 1  # during the outage always the same
    values = [json.loads(body)["user_bytes"] for body in distinct]
    assert values[0] == {"alice": 1}
    assert values[2] is None
    assert all(body["node_id"] == "node-1" for _, _, body, _ in plane.seen)
