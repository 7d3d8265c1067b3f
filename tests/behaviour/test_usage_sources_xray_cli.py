"""The xray program as a source: programs that are well, loud, stuck or missing, and v2ray's own against a real core."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from lattice_agent.errors import ConfigError, UsageSourceError
from lattice_agent.usage.bounded_command import STDERR_LIMIT, run_bounded
from lattice_agent.usage.parse import DOCUMENT_LIMIT
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.xray_cli import XrayCliSource
from tests.hostile.rig import alive
from tests.rigs.real_processes import wait_until
from tests.rigs.v2ray import Kind, V2rayCore, v2ray_core

LIMIT_S = 10.0
ADDRESS = "127.0.0.1:10085"
ONE = '{"stat": [{"name": "user>>>a>>>traffic>>>uplink", "value": "3"}, {"name": "user>>>a>>>traffic>>>downlink"}]}'
# What xray api statsquery does, by way of v2ray's own program, which prints text and not JSON.
XRAY_BY_V2CTL = f"""
[ "$1 $2 $4 $6" = 'api statsquery -pattern -reset=false' ] || exit 64
text=$(v2ctl api "$3" StatsService.QueryStats "pattern: \\"$5\\" reset: false") || exit 1
printf %s "$text" | {shlex.quote(sys.executable)} -I -c '
import json, re, sys
found = re.findall("name: \\"(.*?)\\"(?:\\\\s+value: ([0-9]+))?", sys.stdin.read())
print(json.dumps({{"stat": [{{"name": name, "value": value or 0}} for name, value in found]}} if found else {{}}))'
"""


def program(place: Path, body: str) -> str:
    path = place / "xray"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def source(place: Path, body: str, timeout_s: float = LIMIT_S) -> XrayCliSource:
    return XrayCliSource(ADDRESS, program=program(place, body), timeout_s=timeout_s)


async def refusal(reader: XrayCliSource) -> tuple[str, str]:
    """What it says after its own name, and the hint."""
    with pytest.raises(UsageSourceError) as raised:
        await reader.read()
    assert str(raised.value).startswith(str(reader))
    return str(raised.value).removeprefix(str(reader)), raised.value.hint()


# --- a real core -----------------------------------------------------------------------------------------------------


@pytest.fixture
def core(tmp_path: Path) -> Iterator[V2rayCore]:
    with v2ray_core(tmp_path, ["alice", "bob@t"]) as running:
        yield running


@pytest.mark.needs_v2ray
async def test_the_counters_are_the_cores_to_the_byte(core: V2rayCore, tmp_path: Path) -> None:
    reader = XrayCliSource(core.address, program=program(tmp_path, XRAY_BY_V2CTL), timeout_s=LIMIT_S)
    assert await reader.read() == RawUsage({})
    for user in core.users:
        await trio.to_thread.run_sync(core.traffic, user, 123_456)
    assert await reader.read() == RawUsage(core.truth())


@pytest.mark.needs_v2ray
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Kind(counts_users=False), ": the core carries traffic but counts no user"),
        (Kind(keeps_statistics=False), ": the core offers StatsService but keeps no statistics"),
        (Kind(services=("HandlerService",)), ": the core offers no StatsService"),
    ],
)
async def test_weak_point_26_what_a_core_lacks_is_no_empty_reading(tmp_path: Path, kind: Kind, sentence: str) -> None:
    with v2ray_core(tmp_path, ["alice"], kind) as core:
        await trio.to_thread.run_sync(core.traffic, "alice", 10)
        reader = XrayCliSource(core.address, program=program(tmp_path, XRAY_BY_V2CTL), timeout_s=LIMIT_S)
        assert (await refusal(reader))[0] == sentence


# --- the program -----------------------------------------------------------------------------------------------------


async def test_the_words_are_those_of_the_reference_and_the_environment_is_bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATTICE_TOKEN", "secret")
    seen = tmp_path / "seen"
    body = f"{{ printf '%s\\n' \"$@\"; /usr/bin/env; pwd; cat; }} > {shlex.quote(str(seen))}; echo '{ONE}'"
    assert await source(tmp_path, body).read() == RawUsage({"a": 3})
    lines = seen.read_text().splitlines()
    assert lines[:6] == ["api", "statsquery", f"--server={ADDRESS}", "-pattern", "user>>>", "-reset=false"]
    assert {line.partition("=")[0] for line in lines[6:-1]} <= {"PATH", "LC_ALL", "PWD", "OLDPWD", "_", "SHLVL"}
    assert lines[-1] == "/"


@pytest.mark.parametrize("body", ["exit 0", "echo '{}'", """echo '{"stat": null}'""", """echo '{"stat": []}'"""])
async def test_nothing_printed_is_an_idle_core(tmp_path: Path, body: str) -> None:
    assert await source(tmp_path, body).read() == RawUsage({})


@pytest.mark.parametrize(
    ("body", "sentence", "hint"),
    [
        (
            "echo rpc error: code = Unimplemented >&2; exit 1",
            ": the core offers no StatsService",
            'add "StatsService" to api.services of the core\'s configuration',
        ),
        (
            "echo 'failed to dial\n 127.0.0.1' >&2; exit 1",
            ": the program ended with 1: failed to dial 127.0.0.1",
            "check that the core runs and that -proxy-usage-xray-api is the port of its statistics API",
        ),
        (
            "kill -9 $$",
            ": the program ended with -9: no word on stderr",
            "check that the core runs and that -proxy-usage-xray-api is the port of its statistics API",
        ),
        (
            "exec /usr/bin/yes",
            f": the program prints more than {DOCUMENT_LIMIT} bytes",
            "check the proxy core's statistics settings",
        ),
        (
            """echo '{"stat": [{"name": "x", "value": -1}]}'""",
            ": stat[0].value is negative",
            "check the proxy core's statistics settings",
        ),
        ("echo '[]'", ": the statistics is not an object", "check the proxy core's statistics settings"),
        (
            """echo '{"stat": [{"name": "inbound>>>vm>>>traffic>>>downlink", "value": "5"}]}'""",
            ": the core carries traffic but counts no user",
            "set statsUserUplink and statsUserDownlink to true in policy.levels of the core's configuration",
        ),
    ],
)
async def test_every_error_has_its_own_sentence_and_a_hint(tmp_path: Path, body: str, sentence: str, hint: str) -> None:
    assert await refusal(source(tmp_path, body)) == (sentence, hint)


async def test_a_program_that_is_not_there() -> None:
    assert await refusal(XrayCliSource(ADDRESS, program="/nowhere/xray")) == (
        ": the program cannot be started: No such file or directory",
        "install it, or correct -proxy-usage-xray-bin",
    )


@pytest.mark.hostile
@pytest.mark.parametrize("stray", ["sleep 60 &", "setsid sleep 60 &"])
async def test_at_the_deadline_it_ends_with_everything_it_started(tmp_path: Path, stray: str) -> None:
    pids = tmp_path / "pids"
    body = f"{stray} echo $! $$ > {shlex.quote(str(pids))}\ntrap '' TERM INT HUP\nwait"
    with trio.fail_after(LIMIT_S):
        sentence, hint = await refusal(source(tmp_path, body, timeout_s=0.3))
    assert sentence == " did not answer within 0.3 s"
    assert hint.startswith("check that the core is not stuck")
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    wait_until(lambda: not any(map(alive, started)), "the end of all of them")
    with pytest.raises(ChildProcessError):
        os.waitpid(started[1], os.WNOHANG)  # noqa: ASYNC222  # reaped; this does not wait


@pytest.mark.hostile
async def test_a_child_in_the_background_delays_nothing_and_does_not_outlive_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with trio.fail_after(LIMIT_S):
        assert await source(tmp_path, f"sleep 60 & echo $! >> {shlex.quote(str(pids))}; echo '{ONE}'").read()
    wait_until(lambda: not alive(int(pids.read_text())), "the end of the child")


async def test_much_on_stderr_is_dropped_and_holds_nobody_up() -> None:
    with trio.fail_after(LIMIT_S):
        finished = await run_bounded(["sh", "-c", "head -c 1000000 /dev/zero >&2; echo done; exit 3"], stdout_limit=100)
    assert (finished.code, bytes(finished.stdout.content), finished.stdout.is_cut) == (3, b"done\n", False)
    assert (len(finished.stderr.content), finished.stderr.is_cut) == (STDERR_LIMIT, True)


@pytest.mark.parametrize(
    "name", ["", "xray api", "xray;id", "$(id)", "xray\n", "-xray", "a|b", "x\0y", "~/xray", "`x`"]
)
def test_a_name_with_blanks_or_metacharacters_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigError, match=r"-proxy-usage-xray-bin is .*, not a plain name or path"):
        XrayCliSource(ADDRESS, program=name)


def test_a_pattern_has_a_limit() -> None:
    XrayCliSource(ADDRESS, pattern="x" * 128)
    for pattern in ("x" * 129, "a\0b", "a\nb"):
        with pytest.raises(ConfigError, match="-proxy-usage-xray-pattern is longer than 128 characters or has unprin"):
            XrayCliSource(ADDRESS, pattern=pattern)


def test_an_address_elsewhere_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="-proxy-usage-xray-api points to"):
        XrayCliSource("8.8.8.8:10085")
