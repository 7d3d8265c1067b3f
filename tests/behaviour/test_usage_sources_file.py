"""A usage file as sidecars really write it: in place, half done, by renaming, never again, or as something else."""

import json
import os
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.file import ATTEMPTS, PAUSE_S, STOPPED_UPTIME_S, FileSource, RunSync, boot_time_s
from lattice_agent.usage.ledger import Moment, take_reading
from lattice_agent.usage.normalise import normalise
from lattice_agent.usage.parse import DOCUMENT_LIMIT
from lattice_agent.usage.reading import RawUsage

T = TypeVar("T")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def directly(before: Callable[[], object] = lambda: None) -> RunSync:
    """Runs in the event loop, after ``before`` has had its chance to play the writer."""

    async def run(fn: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        before()
        return fn()

    return run


def playing(*steps: Callable[[], object]) -> RunSync:
    """A writer that does one of ``steps`` before each look; afterwards it rests."""
    left = list(steps)
    return directly(lambda: left.pop(0)() if left else None)


def write(path: Path, users: dict[str, int], uptime_s: int = 0) -> None:
    path.write_text(json.dumps({"user_bytes": users, "core_uptime_sec": uptime_s}))


async def refusal(reading: Awaitable[RawUsage]) -> str:
    with pytest.raises(UsageSourceError) as raised:
        await reading
    return str(raised.value)


async def test_a_file_is_read_in_a_thread_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "usage.json"
    write(path, {"user-1": 1000}, 100)
    assert await FileSource(path).read() == RawUsage({"user-1": 1000}, core_uptime_s=100)


async def test_a_file_met_half_written_is_read_again_when_it_is_whole(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "usage.json"
    run = playing(
        path.touch,
        lambda: path.write_text('{"user_bytes": {"a": 1'),
        lambda: write(path, {"a": 123}),
    )
    assert await FileSource(path, run_sync=run).read() == RawUsage({"a": 123})


async def test_a_file_that_changes_while_it_is_read_is_never_half_read(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first half is read before and the second after the writer's change: valid JSON, but no state ever seen."""
    path = tmp_path / "usage.json"
    old, new = (f'{{"user_bytes": {{"a": {n}{" " * 70_000}, "b": {n}}}}}' for n in (111, 999))
    path.write_text(old)
    real_read, reads = os.read, 0

    def read(fd: int, count: int) -> bytes:
        nonlocal reads
        part = real_read(fd, count)
        reads += 1
        if reads == 1:
            path.write_text(new)
            os.utime(path, ns=(1, 1))  # so that no coarse clock hides the change
        return part

    monkeypatch.setattr(os, "read", read)
    assert (await FileSource(path, run_sync=directly(), booted_s=lambda: 0.0).read()).user_bytes == {"a": 999, "b": 999}
    assert reads > 3


async def test_a_file_that_never_rests_is_an_error_after_a_few_looks(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "usage.json"
    sizes = iter(range(1, 100))
    looks = 0

    def scribble() -> None:
        nonlocal looks
        looks += 1
        path.write_text("{" * next(sizes))

    assert "not valid JSON" in await refusal(FileSource(path, run_sync=directly(scribble)).read())
    assert looks == ATTEMPTS


async def test_a_wrong_file_that_rests_costs_one_more_look(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "usage.json"
    path.write_text('{"user_bytes": {"a": -1}}')
    began = trio.current_time()
    message = await refusal(FileSource(path, run_sync=directly()).read())
    assert message == f"proxy usage file {path}: user_bytes['a'] is negative"
    assert trio.current_time() - began == pytest.approx(PAUSE_S)


async def test_weak_point_26_a_stopped_writer_is_noticed_by_its_uptime(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "usage.json"
    write(path, {"a": 5}, 100)
    source = FileSource(path, run_sync=directly())
    await source.read()
    await trio.sleep(STOPPED_UPTIME_S)
    await source.read()
    await trio.sleep(1)
    assert "has not changed for 301 s" in await refusal(source.read())
    write(path, {"a": 5}, 401)
    assert (await source.read()).core_uptime_s == 401


async def test_a_file_without_uptime_may_rest_unless_an_age_is_set(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "usage.json"
    write(path, {"a": 5})
    patient, strict = FileSource(path, run_sync=directly()), FileSource(path, max_age_s=60, run_sync=directly())
    await patient.read()
    await strict.read()
    await trio.sleep(86_400)
    assert await patient.read() == RawUsage({"a": 5})
    assert "has not changed" in await refusal(strict.read())


async def test_the_same_content_written_again_is_a_sign_of_life(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "usage.json"
    source = FileSource(path, max_age_s=60, run_sync=directly(), booted_s=lambda: 0.0)
    for turn in range(4):
        write(path, {"a": 5})
        os.utime(path, (turn, turn))
        assert (await source.read()).user_bytes == {"a": 5}
        await trio.sleep(50)


async def test_a_file_replaced_by_renaming_is_read_at_once(tmp_path: Path) -> None:
    path, fresh = tmp_path / "usage.json", tmp_path / "fresh"
    write(path, {"a": 1})
    source = FileSource(path)
    await source.read()
    write(fresh, {"a": 2})
    fresh.replace(path)
    assert await source.read() == RawUsage({"a": 2})


async def test_what_is_no_small_regular_file_is_an_error(tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.write_bytes(b"{" * (DOCUMENT_LIMIT + 1))
    os.mkfifo(tmp_path / "fifo")
    assert await refusal(FileSource(long).read()) == f"proxy usage file {long} exceeds 1048576 bytes"
    assert "is not a regular file" in await refusal(FileSource(tmp_path / "fifo").read())
    assert "is not a regular file" in await refusal(FileSource(tmp_path).read())
    assert "cannot be read: No such file" in await refusal(FileSource(tmp_path / "missing").read())


async def test_a_huge_file_is_not_taken_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(2**40)
    with trio.fail_after(10):
        assert "exceeds 1048576 bytes" in await refusal(FileSource(path).read())


async def test_a_stuck_file_system_costs_one_thread_and_no_more_than_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usage.json"
    write(path, {"a": 1})
    release, stuck = threading.Event(), []
    real_open = os.open

    def hang(target: object, flags: int) -> int:
        stuck.append(target)
        assert release.wait(30)
        return real_open(path, flags)

    source = FileSource(path, timeout_s=0.02)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", hang)
        try:
            for _ in range(3):
                assert "did not answer within 0.02 s" in await refusal(source.read())
            assert len(stuck) == 1
        finally:
            release.set()


async def test_weak_point_26_restarts_seen_in_a_file_are_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "usage.json"
    source, book = FileSource(path), None
    readings = (({"a": 500, "b": 7}, 100), ({"a": 600}, 110), ({}, 120), ({"a": 20}, 5), ({"a": 30}, 14))
    totals = []
    for number, (users, uptime_s) in enumerate(readings):
        write(path, users, uptime_s)
        book = take_reading(book, normalise(await source.read()), Moment("boot", 10.0 * number))
        totals.append(dict(book.totals))
    assert totals == [{"a": 0, "b": 0}, {"a": 100, "b": 0}, {"a": 100, "b": 0}, {"a": 120, "b": 0}, {"a": 130, "b": 0}]


async def test_a_file_from_before_the_boot_is_no_reading(tmp_path: Path) -> None:
    path = tmp_path / "usage.json"
    write(path, {"a": 5}, 20)
    written_s = path.stat().st_mtime
    source = FileSource(path, booted_s=lambda: written_s + 1)
    assert await refusal(source.read()) == f"proxy usage file {path} has not been written since the machine was booted"
    assert await FileSource(path, booted_s=lambda: written_s - 1).read() == RawUsage({"a": 5}, core_uptime_s=20)


def test_the_boot_is_in_the_past() -> None:
    assert 0 < boot_time_s() < time.time()
