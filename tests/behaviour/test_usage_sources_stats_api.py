"""The statistics API as a source: against a real v2ray core, and against cores that are well, old, broken or none."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from lattice_agent.errors import ConfigError, UsageSourceError
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.stats_api import V2RAY, XRAY, SingboxStatsSource, StatsApiSource, XrayApiSource
from tests.rigs.real_processes import reserved_port
from tests.rigs.scripted_core import (
    Call,
    ListeningCore,
    Script,
    listening,
    listening_core,
    stats_message,
    uptime_message,
)
from tests.rigs.v2ray import LIMIT_S, Kind, V2rayCore, v2ray_core

USERS = ("alice", "bob.1", "carol@t")
UP, DOWN = "user>>>a>>>traffic>>>uplink", "user>>>a>>>traffic>>>downlink"
Listening = Callable[[], AbstractAsyncContextManager[ListeningCore]]
COUNT_XRAY = "set statsUserUplink and statsUserDownlink to true in policy.levels of the core's configuration"


async def refusal(source: StatsApiSource) -> tuple[str, str]:
    """Message and hint, with a stand-in for the port."""
    with pytest.raises(UsageSourceError) as raised:
        await source.read()
    port = str(source).rpartition(":")[2]
    return str(raised.value).replace(f":{port}", ":PORT"), raised.value.hint()


# --- a real core -----------------------------------------------------------------------------------------------------


@pytest.fixture
def core(tmp_path: Path) -> Iterator[V2rayCore]:
    with v2ray_core(tmp_path, USERS) as running:
        yield running


@pytest.mark.needs_v2ray
async def test_the_counters_are_what_another_reader_sees_to_the_byte(core: V2rayCore) -> None:
    source = XrayApiSource(core.address)
    assert await source.read() == RawUsage({}, core_uptime_s=1, is_live=True)
    sizes = {"alice": 1_000_000, "bob.1": 1, "carol@t": 77_777}
    for user, size in sizes.items():
        await trio.to_thread.run_sync(core.traffic, user, size)
    usage = (await source.read()).user_bytes
    assert usage == await trio.to_thread.run_sync(core.truth)
    assert all(size < usage[user] < size + 1000 for user, size in sizes.items())
    assert (await source.read()).user_bytes == usage, "a reading changes nothing"


@pytest.mark.needs_v2ray
async def test_the_v2ray_api_of_singbox_has_the_same_form(core: V2rayCore) -> None:
    await trio.to_thread.run_sync(core.traffic, "alice", 10)
    assert (await SingboxStatsSource(core.address).read()).user_bytes == core.truth()


@pytest.mark.long
@pytest.mark.needs_v2ray
async def test_a_restart_shows_in_the_uptime_and_a_foreign_reset_does_not(core: V2rayCore) -> None:
    source = XrayApiSource(core.address)
    await trio.to_thread.run_sync(core.traffic, "alice", 5000)
    first = await source.read()
    with trio.fail_after(LIMIT_S):
        while (await source.read()).core_uptime_s < 2:
            await trio.lowlevel.checkpoint()

    await trio.to_thread.run_sync(core.reset_by_another)
    after_reset = await source.read()
    assert after_reset.user_bytes == {"alice": 0}
    assert after_reset.core_uptime_s >= 2

    core.restart()
    await trio.to_thread.run_sync(core.traffic, "alice", 5000)
    after_restart = await source.read()
    assert after_restart.user_bytes == first.user_bytes
    assert after_restart.core_uptime_s == 1


@pytest.mark.needs_v2ray
async def test_a_killed_core_is_an_error_and_the_next_run_is_read_again(core: V2rayCore) -> None:
    source = XrayApiSource(core.address)
    await source.read()
    core.kill()
    assert (await refusal(source))[0] == "proxy statistics API 127.0.0.1:PORT: nothing listens there"
    core.start()
    assert await source.read() == RawUsage({}, core_uptime_s=1, is_live=True)


@pytest.mark.needs_v2ray
@pytest.mark.parametrize("lines", [("Inbound",), ("Outbound",), ("Inbound", "Outbound")], ids="+".join)
async def test_weak_point_26_users_that_are_not_counted_are_no_empty_reading(
    tmp_path: Path, lines: tuple[str, ...]
) -> None:
    with v2ray_core(tmp_path, USERS, Kind(counts_users=False, counts_lines=lines)) as core:
        source = XrayApiSource(core.address)
        for _ in range(3):
            assert (await source.read()).user_bytes == {}, "our own questions are not traffic"
        await trio.to_thread.run_sync(core.traffic, "alice", 10)
        sentence = "proxy statistics API 127.0.0.1:PORT: the core carries traffic but counts no user"
        assert await refusal(source) == (sentence, COUNT_XRAY)


@pytest.mark.needs_v2ray
@pytest.mark.parametrize(
    ("kind", "sentence", "hint"),
    [
        (
            Kind(keeps_statistics=False),
            "the core offers StatsService but keeps no statistics",
            'add "stats": {} to the core\'s configuration',
        ),
        (
            Kind(services=("HandlerService",)),
            "the core offers no StatsService",
            'add "StatsService" to api.services of the core\'s configuration',
        ),
    ],
)
async def test_a_core_that_cannot_tell_says_what_it_lacks(tmp_path: Path, kind: Kind, sentence: str, hint: str) -> None:
    with v2ray_core(tmp_path, USERS, kind) as core:
        assert await refusal(XrayApiSource(core.address)) == (f"proxy statistics API 127.0.0.1:PORT: {sentence}", hint)


# --- cores of other kinds --------------------------------------------------------------------------------------------


def answering(stats: dict[str, int], *, service: str = XRAY, uptime_s: int | None = 7) -> Script:
    """A core with one name for its service, and GetSysStats unless ``uptime_s`` is None."""

    async def script(call: Call) -> None:
        method = call.path.removeprefix(f"/{service}/")
        if method == "QueryStats":
            pattern = call.request[7:].split(b"\x10", 1)[0].decode()
            await call.answer(stats_message({name: value for name, value in stats.items() if pattern in name}))
        elif method == "GetSysStats" and uptime_s is not None:
            await call.answer(uptime_message(uptime_s))
        else:
            await call.refuse(12, f"unknown service {call.path.split('/')[1]}")

    return script


async def test_up_and_down_are_added_and_the_uptime_comes_along() -> None:
    async with listening_core(answering({UP: 3, DOWN: 4, "inbound>>>x>>>traffic>>>uplink": 9})) as core:
        assert await XrayApiSource(core.address).read() == RawUsage({"a": 7}, core_uptime_s=7, is_live=True)


async def test_a_core_without_uptime_has_none() -> None:
    async with listening_core(answering({UP: 3}, uptime_s=None)) as core:
        assert await XrayApiSource(core.address).read() == RawUsage({"a": 3}, core_uptime_s=0, is_live=True)


async def test_a_core_that_counts_nothing_but_users_is_idle() -> None:
    async with listening_core(answering({})) as core:
        assert await XrayApiSource(core.address).read() == RawUsage({}, core_uptime_s=7, is_live=True)


@pytest.mark.parametrize(("source", "other"), [(XrayApiSource, V2RAY), (SingboxStatsSource, XRAY)])
async def test_the_other_name_of_the_service_is_tried_and_remembered(source: type[StatsApiSource], other: str) -> None:
    paths: list[str] = []
    answer = answering({UP: 3}, service=other)

    async def script(call: Call) -> None:
        paths.append(call.path)
        await answer(call)

    async with listening_core(script) as core:
        reader = source(core.address)
        for _ in range(2):
            assert (await reader.read()).user_bytes == {"a": 3}
    known = [f"/{other}/QueryStats", f"/{other}/GetSysStats"]
    assert paths == [f"/{source.services[0]}/QueryStats", *known, *known]


async def test_one_reading_is_one_connection() -> None:
    async with listening_core(answering({UP: 3})) as core:
        source = XrayApiSource(core.address)
        for count in (1, 2):
            await source.read()
            assert len(core.connections) == count


class NoResolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *words: object) -> list[object]:  # type: ignore[override]
        raise AssertionError(f"asked for {words}")

    async def getnameinfo(self, *words: object) -> tuple[str, str]:  # type: ignore[override]
        raise AssertionError(f"asked for {words}")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_localhost_is_this_machine_without_asking_a_resolver(host: str) -> None:
    async with listening_core(answering({UP: 3}), host) as core:
        trio.socket.set_custom_hostname_resolver(NoResolver())
        source = XrayApiSource(f"localhost:{core.port}")
        assert (await source.read()).user_bytes == {"a": 3}


# --- every error text ------------------------------------------------------------------------------------------------


def core_of(script: Script) -> Listening:
    return partial(listening_core, script)


def refusing(code: int, detail: str) -> Script:
    return lambda call: call.refuse(code, detail)


async def http_1(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    await trio.sleep_forever()


async def closing(stream: trio.SocketStream) -> None:
    await stream.receive_some()


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def nobody() -> AsyncIterator[ListeningCore]:
    with reserved_port() as port:
        yield ListeningCore(port)


async def oversized(call: Call) -> None:
    call.begin()
    while True:
        await call.send_body(bytes(65_536))


PORT_HINT = "check that this is the port of the core's statistics API, without TLS"
DEFAULT_HINT = "check the proxy core's statistics settings"
IDLE = answering({"inbound>>>vm>>>traffic>>>downlink": 5})


@pytest.mark.parametrize(
    ("source", "core", "sentence", "hint"),
    [
        (XrayApiSource, nobody, ": nothing listens there", "start the core, or correct -proxy-usage-xray-api"),
        (SingboxStatsSource, nobody, ": nothing listens there", "start the core, or correct -singbox-stats-api"),
        (
            XrayApiSource,
            partial(listening, silent),
            " did not answer within 0.2 s",
            "check that the core is not stuck, and that this is the port of its statistics API",
        ),
        (XrayApiSource, partial(listening, closing), ": the connection ended before an answer had come", PORT_HINT),
        (XrayApiSource, partial(listening, http_1), ": what listens there does not speak HTTP/2", PORT_HINT),
        (
            XrayApiSource,
            core_of(refusing(12, "unknown service")),
            ": the core offers no StatsService",
            'add "StatsService" to api.services of the core\'s configuration',
        ),
        (
            SingboxStatsSource,
            core_of(refusing(12, "unknown service")),
            ": the core offers no StatsService",
            "set experimental.v2ray_api.stats.enabled to true, in a sing-box built with the tag with_v2ray_api",
        ),
        (
            XrayApiSource,
            core_of(refusing(2, "app/stats/command: QueryStats only works its own stats.Manager.")),
            ": the core offers StatsService but keeps no statistics",
            'add "stats": {} to the core\'s configuration',
        ),
        (
            XrayApiSource,
            core_of(refusing(8, "too\nmuch")),
            ": the core refuses the call with gRPC status 8: too much",
            DEFAULT_HINT,
        ),
        (XrayApiSource, core_of(IDLE), ": the core carries traffic but counts no user", COUNT_XRAY),
        (
            SingboxStatsSource,
            core_of(answering({"inbound>>>vm>>>traffic>>>downlink": 5}, service=V2RAY)),
            ": the core carries traffic but counts no user",
            "list the users in experimental.v2ray_api.stats.users of the core's configuration",
        ),
        (
            XrayApiSource,
            core_of(answering({"user>>>x": -5, UP: 3})),
            ": the statistic 'user>>>x' is negative",
            DEFAULT_HINT,
        ),
        (XrayApiSource, core_of(oversized), ": the answer is longer than 1048576 bytes", DEFAULT_HINT),
    ],
)
async def test_every_error_has_its_own_sentence_and_a_hint(
    source: type[StatsApiSource], core: Listening, sentence: str, hint: str
) -> None:
    timeout_s = 0.2 if "within 0.2 s" in sentence else 5.0
    async with core() as running:
        said = await refusal(source(running.address, timeout_s=timeout_s))
    assert said == (f"proxy statistics API 127.0.0.1:PORT{sentence}", hint)


@pytest.mark.parametrize(
    ("source", "flag"), [(XrayApiSource, "-proxy-usage-xray-api"), (SingboxStatsSource, "-singbox-stats-api")]
)
def test_an_address_elsewhere_is_refused_at_once(source: type[StatsApiSource], flag: str) -> None:
    with pytest.raises(ConfigError, match=rf"{flag} points to '192\.0\.2\.1', which is not a loopback host"):
        source("192.0.2.1:10085")


# --- what it costs those who do not use it ---------------------------------------------------------------------------


def test_without_such_a_source_no_grpc_code_is_loaded() -> None:
    program = (
        "import sys, ssl, pathlib, httpx\n"
        "import lattice_agent.app, lattice_agent.report.usage, lattice_agent.usage.books\n"
        "from lattice_agent.usage.file import FileSource\n"
        "from lattice_agent.usage.url import LoopbackUrlSource\n"
        "from lattice_agent.link.client import ControlPlane\n"
        "FileSource(pathlib.Path('/nothing')), LoopbackUrlSource('http://127.0.0.1:1/')\n"
        "heavy = lambda: sorted({name.split('.')[0] for name in sys.modules} & {'h2', 'hpack', 'hyperframe', 'grpc'})\n"
        "assert 'httpcore' in sys.modules\n"
        "print(heavy())\n"
        "from lattice_agent.usage.stats_api import XrayApiSource\n"
        "print(heavy())\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["[]", "['h2', 'hpack', 'hyperframe']"]
