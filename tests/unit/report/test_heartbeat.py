"""Hello and heartbeat in virtual time, against a scripted control plane."""

import copy
import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.facts.detail.own_cost import OwnLoad
from lattice_agent.facts.wireguard import WireGuard
from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import Reason, UnreachableError
from lattice_agent.link.features import Features
from lattice_agent.link.health import LinkHealth
from lattice_agent.link.line import Line
from lattice_agent.report.heartbeat import HeartbeatService, Sample
from lattice_agent.report.runtime import describe_runtime
from lattice_agent.wire.facts import HostFacts
from lattice_agent.wire.hello import Addresses
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.metrics_detail import AgentCost, MetricsDetail
from lattice_agent.wire.policy import PolicySummary
from lattice_agent.wire.runtime import AgentRuntime
from tests.contract.test_golden_models import shape_of
from tests.golden_files import exchange

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
INTERVAL_S = 10.0


class ScriptedPlane:
    """Records each request with its time; ``status`` decides the answer, None loses it."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str, dict[str, Any], bool]] = []
        self.status: Callable[[str], int | None] = lambda path: 200
        self.answer: dict[str, Any] = {"ok": True}
        self.takes_s = 0.0

    async def get(self, path: str, params: Mapping[str, str] | None = None, **_: Any) -> Answer:
        return await self._serve(path, {}, urgent=False)

    async def post(self, path: str, body: bytes, *, urgent: bool = False, **_: Any) -> Answer:
        return await self._serve(path, json.loads(body), urgent=urgent)

    async def _serve(self, path: str, body: dict[str, Any], *, urgent: bool) -> Answer:
        self.seen.append((trio.current_time(), path, body, urgent))
        await trio.sleep(self.takes_s)
        status = self.status(path)
        if status is None:
            raise UnreachableError(f"{path}: gone", reason=Reason.CONNECT)
        return Answer(status, {}, json.dumps(self.answer).encode())

    def times(self, path: str) -> list[float]:
        return [at for at, seen, _, _ in self.seen if seen == path]


def sample(load: OwnLoad | None = None) -> Sample:
    facts = HostFacts(
        hostname="node-1",
        os="linux",
        platform="debian",
        platform_version="12",
        kernel_version="6.1.0-18-amd64",
        arch="amd64",
        cpu_cores=4,
        cpu_model="Example",
        memory_total=1,
        virtualization="vm",
        boot_time=MOMENT,
        reported_at=MOMENT,
    )
    return Sample(facts, Metrics(collected_at=MOMENT))


def runtime() -> AgentRuntime:
    return describe_runtime(
        allow_exec=True,
        allow_root_exec=False,
        no_exec=False,
        uid=1000,
        usage_file="/tmp/example",
        usage_url="",
        reported_at=MOMENT,
    )


async def directly(fn: Callable[..., Any], *args: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return fn(*args)


def service(plane: ScriptedPlane, features: Features | None = None, **changes: Any) -> HeartbeatService:
    parts: dict[str, Any] = {
        "node_id": "node-1",
        "interval_s": INTERVAL_S,
        "sample": sample,
        "own_load": OwnLoad,
        "run_sync": directly,
        "addresses": lambda: Addresses(internal_ip="10.0.0.5", internal_ipv6="fd00::5"),
        "runtime": runtime,
        "policy": lambda: PolicySummary(allow_exec=True, default_level="strict"),
        "wireguard": WireGuard(),
        "rng": random.Random(1),
    }
    line = Line(plane, LinkHealth(on_change=lambda change: None))  # type: ignore[arg-type]  # stands in
    return HeartbeatService(line, features or Features(), **{**parts, **changes})


async def run_for(seconds: float, what: HeartbeatService) -> None:
    with trio.move_on_after(seconds):
        await what.run()


async def test_hello_and_heartbeat_have_the_recorded_keys(autojump_clock: MockClock) -> None:
    plane = ScriptedPlane()
    await run_for(1, service(plane))
    bodies = {path: body for _, path, body, _ in plane.seen}
    recorded = copy.deepcopy(exchange("metrics-first").body)
    # The recorded agent ran sing-box discovery and named its binary; ours leaves the key out as Go does when empty.
    del recorded["agent_runtime"]["singbox_bin"]
    ours = bodies["/api/agent/metrics"]
    assert shape_of(bodies["/api/agent/hello"]) == shape_of(exchange("hello-first").body)
    for body in (ours, recorded):
        body["agent_runtime"]["task_sandbox_features"] = sorted(set(body["agent_runtime"]["task_sandbox_features"]))[:1]
    assert shape_of(ours) == shape_of(recorded)


async def test_trap_04_heartbeats_keep_their_rhythm(autojump_clock: MockClock) -> None:
    plane = ScriptedPlane()
    await run_for(1000, service(plane))
    times = plane.times("/api/agent/metrics")
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert 95 <= len(times) <= 105
    assert max(gaps) <= INTERVAL_S * 1.2
    assert len(plane.times("/api/agent/hello")) == 1


async def second_beats(planes: list[ScriptedPlane], since: float) -> list[float]:
    """When each of a fleet that begins now beats for the second time after ``since``, sorted."""
    with trio.move_on_after(since + 3 * INTERVAL_S):
        async with trio.open_nursery() as nursery:
            for number, plane in enumerate(planes):
                nursery.start_soon(service(plane, rng=random.Random(number)).run)
    return sorted([at for at in plane.times("/api/agent/metrics") if at >= since][1] for plane in planes)


async def test_a_fleet_that_began_together_is_out_of_step_with_its_second_beat(autojump_clock: MockClock) -> None:
    times = await second_beats([ScriptedPlane() for _ in range(20)], 0.0)
    assert times[-1] - times[0] > INTERVAL_S * 0.7


async def test_a_fleet_that_lost_its_server_together_does_not_come_back_together(autojump_clock: MockClock) -> None:
    planes = [ScriptedPlane() for _ in range(20)]
    for plane in planes:
        plane.status = lambda path: None if trio.current_time() < 60 else 200
    times = await second_beats(planes, 60.0)
    assert times[-1] - times[0] > INTERVAL_S * 0.7
    first = sorted(next(at for at in plane.times("/api/agent/metrics") if at >= 60) for plane in planes)
    assert first[-1] - first[0] > INTERVAL_S * 0.7


async def test_heartbeats_use_the_urgent_lane(autojump_clock: MockClock) -> None:
    plane = ScriptedPlane()
    await run_for(1, service(plane))
    assert all(urgent for _, _, _, urgent in plane.seen)


async def test_a_slow_answer_does_not_shift_the_grid(autojump_clock: MockClock) -> None:
    plane = ScriptedPlane()
    plane.takes_s = 4
    await run_for(1000, service(plane))
    assert 95 <= len(plane.times("/api/agent/metrics")) <= 105


@pytest.mark.parametrize("status", [None, 400, 401, 429, 500])
async def test_weak_point_08_hello_is_retried_and_never_fatal(autojump_clock: MockClock, status: int | None) -> None:
    plane = ScriptedPlane()
    plane.status = lambda path: status if path.endswith("hello") and trio.current_time() < 300 else 200
    await run_for(2000, service(plane))
    hellos = plane.times("/api/agent/hello")
    assert len(hellos) >= 2
    assert hellos[-1] >= 300
    assert len(plane.times("/api/agent/metrics")) >= 190  # they did not wait for hello


async def test_trap_04_back_within_ninety_seconds_after_an_outage(autojump_clock: MockClock) -> None:
    plane = ScriptedPlane()
    plane.status = lambda path: None if 100 < trio.current_time() < 5000 else 200
    await run_for(5200, service(plane))
    times = [at for at in plane.times("/api/agent/metrics") if at >= 5000]
    assert times[0] - 5000 <= 45


async def test_facts_that_hang_do_not_delay_the_heartbeat(autojump_clock: MockClock) -> None:
    plane = ScriptedPlane()

    async def hangs(fn: Callable[..., Any], *args: Any) -> Any:
        await trio.sleep_forever()

    await run_for(100, service(plane, run_sync=hangs))
    times = plane.times("/api/agent/metrics")
    assert len(times) >= 9
    # Hello and the first beat wait for the thread once; the beats after it are on the grid.
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    assert gaps == pytest.approx([INTERVAL_S] * len(gaps), rel=0.06)


async def test_features_come_with_the_answer_to_hello(autojump_clock: MockClock) -> None:
    plane, features = ScriptedPlane(), Features()
    plane.answer = {"ok": True, "lattice_ext": {"v": 1, "features": ["results.batch"]}}
    await run_for(1, service(plane, features))
    assert features.has("results.batch")


@pytest.mark.parametrize(
    ("allow", "root_opt_in", "kill", "uid", "level"),
    [
        (False, False, False, 1000, "disabled"),
        (True, False, True, 1000, "disabled"),
        (True, False, False, 0, "root-refused"),
        (True, True, False, 0, "host"),
        (True, False, False, 1000, "host"),
    ],
)
def test_runtime_names_what_is_in_force(allow: bool, root_opt_in: bool, kill: bool, uid: int, level: str) -> None:
    told = describe_runtime(
        allow_exec=allow,
        allow_root_exec=root_opt_in,
        no_exec=kill,
        uid=uid,
        usage_file="",
        usage_url="",
        reported_at=MOMENT,
    )
    assert told.task_sandbox == level
    assert told.allow_exec == (allow and not kill)
    assert len(told.task_sandbox_warning.encode()) <= 240


def test_weak_point_31_no_more_features_than_the_server_keeps() -> None:
    features = runtime().task_sandbox_features
    assert len(features) == len(set(features)) <= 16
    assert list(features) == sorted(features)


async def test_hello_and_the_first_heartbeat_both_carry_the_facts(autojump_clock: MockClock) -> None:
    """They start together and share one thread for reading."""
    plane, thread = ScriptedPlane(), trio.CapacityLimiter(1)

    async def one_thread(fn: Callable[..., Any], *args: Any) -> Any:
        async with thread:
            await trio.sleep(0.5)
            return fn(*args)

    await run_for(5, service(plane, run_sync=one_thread))
    assert {path: body["host_facts"].get("hostname") for _, path, body, _ in plane.seen} == {
        "/api/agent/hello": "node-1",
        "/api/agent/metrics": "node-1",
    }


async def test_a_sampler_that_fails_costs_the_facts_only_and_is_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    plane = ScriptedPlane()

    def broken(load: OwnLoad | None) -> Sample:
        raise ValueError("no such file")

    await run_for(1000, service(plane, sample=broken))
    assert len(plane.times("/api/agent/metrics")) >= 95
    assert caplog.text.count("no such file") == 1


async def test_fresh_facts_come_again_after_the_thread_is_free(autojump_clock: MockClock) -> None:
    plane = ScriptedPlane()

    async def hangs_at_first(fn: Callable[..., Any], *args: Any) -> Any:
        if trio.current_time() < 50:
            await trio.sleep_forever()
        return await directly(fn, *args)

    await run_for(100, service(plane, run_sync=hangs_at_first))
    names = [body["host_facts"].get("hostname") for _, path, body, _ in plane.seen if path.endswith("metrics")]
    assert names[0] is None
    assert names[-1] == "node-1"


DETAILED = {"ok": True, "lattice_ext": {"v": 1, "features": ["metrics.detail"]}}


def detailed(load: OwnLoad | None) -> Sample:
    base = sample()
    if load is None:
        return base
    return Sample(base.facts, base.metrics, MetricsDetail(agent=AgentCost(tasks_running=load.tasks_running)))


async def test_details_are_measured_and_sent_only_while_announced(autojump_clock: MockClock) -> None:
    plane, features = ScriptedPlane(), Features()
    with trio.move_on_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service(plane, features, sample=detailed, own_load=lambda: OwnLoad(0.0, 3, 0)).run)
            await trio.sleep(35)
            features.announced(["metrics.detail"])
            await trio.sleep(35)
            features.announced([])
    sent = [(at, body.get("metrics_detail")) for at, path, body, _ in plane.seen if path.endswith("metrics")]
    assert all(detail is None for at, detail in sent if not 35 < at < 70)
    assert [detail for at, detail in sent if 35 < at < 70] == [{"agent": {"tasks_running": 3}}] * 3


async def test_the_policy_is_told_only_while_announced(autojump_clock: MockClock) -> None:
    plane, features = ScriptedPlane(), Features()
    with trio.move_on_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service(plane, features).run)
            await trio.sleep(35)
            features.announced(["policy.summary"])
            await trio.sleep(35)
            features.announced([])
    sent = [(at, body.get("policy")) for at, path, body, _ in plane.seen if path.endswith("metrics")]
    assert all(policy is None for at, policy in sent if not 35 < at < 70)
    assert [policy for at, policy in sent if 35 < at < 70] == [{"allow_exec": True, "default_level": "strict"}] * 3


async def test_a_heartbeat_that_is_refused_for_its_details_goes_on_without(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    plane, features = ScriptedPlane(), Features()
    plane.answer = DETAILED
    plane.status = lambda path: 400 if path.endswith("metrics") and "metrics_detail" in plane.seen[-1][2] else 200
    await run_for(100, service(plane, features, sample=detailed, own_load=OwnLoad))
    with_detail = ["metrics_detail" in body for _, path, body, _ in plane.seen if path.endswith("metrics")]
    assert with_detail.count(True) == 1
    assert len(with_detail) >= 9
    assert caplog.text.count("goes on without") == 1
