"""Streams over real pipes: what is kept, what is counted, and that nothing waits or grows."""

import fcntl
import os
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from lattice_agent.exec import output_stream
from lattice_agent.exec.capture import Stream
from lattice_agent.exec.outcome import StreamCapture
from tests.rigs.extent import extent


class Pipe:
    """A stream and the writer's end of its pipe."""

    def __init__(self, limit: int) -> None:
        read_end, self.writer = os.pipe()
        self.stream = Stream(read_end, limit)
        self._open = True

    def write(self, data: bytes) -> None:
        os.write(self.writer, data)

    def hang_up(self) -> None:
        if self._open:
            os.close(self.writer)
        self._open = False


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Keeps ten bytes."""
    pipe = Pipe(10)
    yield pipe
    pipe.hang_up()
    pipe.stream.close()


@pytest.mark.parametrize("length", [0, 1, 9, 10])
async def test_output_within_the_limit_is_kept_whole(pipe: Pipe, length: int) -> None:
    pipe.write(b"x" * length)
    pipe.hang_up()
    await pipe.stream.pump()
    assert pipe.stream.captured() == StreamCapture(b"x" * length, b"", length)


@pytest.mark.parametrize("splice", [True, False])
async def test_output_beyond_the_limit_is_counted_and_dropped(pipe: Pipe, splice: bool) -> None:
    pipe.stream._splice = splice
    pipe.write(b"0123456789abcdefgh")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.stream.pump)
        await trio.testing.wait_all_tasks_blocked()
        pipe.write(b"y" * 1000)
        pipe.hang_up()
    captured = pipe.stream.captured()
    assert captured == StreamCapture(b"0123456789", b"abc", 1018)
    assert captured.dropped == 1008


async def test_where_splice_is_refused_reading_takes_its_place(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object, **_kwargs: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "splice", refused)
    pipe.write(b"x" * 5000)
    pipe.hang_up()
    await pipe.stream.pump()
    assert pipe.stream.captured().produced == 5000


async def test_weak_point_04_the_bytes_beyond_tell_a_cut_character_from_an_invalid_one() -> None:
    pipe = Pipe(100)
    pipe.write(b"a" * 99 + "é".encode() + b"tail")
    pipe.hang_up()
    await pipe.stream.pump()
    captured = pipe.stream.captured()
    pipe.stream.close()
    assert len(captured.kept) == 100
    assert (captured.kept + captured.beyond).decode().startswith("a" * 99 + "é")


async def test_cancelling_the_pump_loses_nothing_and_the_rest_is_taken_without_waiting(pipe: Pipe) -> None:
    with trio.move_on_after(0) as scope:
        await pipe.stream.pump()
    assert scope.cancelled_caught
    pipe.write(b"late")
    pipe.stream.take_rest()  # the writer's end is still open: waiting would never end
    assert pipe.stream.captured() == StreamCapture(b"late", b"", 4)


async def test_weak_point_05_taking_the_rest_is_bounded_while_somebody_goes_on_writing(pipe: Pipe) -> None:
    capacity = fcntl.fcntl(pipe.writer, fcntl.F_GETPIPE_SZ)
    stop = threading.Event()

    def write_on() -> None:
        while not stop.is_set():
            os.write(pipe.writer, b"z" * 4096)

    writer = threading.Thread(target=write_on)
    writer.start()
    pipe.stream.take_rest()
    stop.set()
    await _drain_until_dead(pipe, writer)
    assert pipe.stream.captured().produced <= 2 * capacity


async def _drain_until_dead(pipe: Pipe, writer: threading.Thread) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.stream.discard)
        await trio.to_thread.run_sync(writer.join)
        nursery.cancel_scope.cancel()


async def test_discarding_counts_nothing_and_ends_with_the_writer(pipe: Pipe) -> None:
    pipe.write(b"x" * 50)
    pipe.hang_up()
    with trio.fail_after(10):
        await pipe.stream.discard()
    assert pipe.stream.captured() == StreamCapture()


@pytest.mark.sized
async def test_a_flood_leaves_turns_for_others_and_grows_nothing() -> None:
    pipe = Pipe(1000)
    chunks = extent(200, 2000)

    def flood() -> None:
        for _ in range(chunks):
            os.write(pipe.writer, b"f" * 65_536)
        pipe.hang_up()

    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    tracemalloc.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        nursery.start_soon(trio.to_thread.run_sync, flood)
        await pipe.stream.pump()
        nursery.cancel_scope.cancel()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pipe.stream.close()
    assert pipe.stream.captured().produced == chunks * 65_536
    assert turns >= chunks // 2  # a turn moves at most one pipe's worth
    assert peak < 1 << 20


@pytest.mark.parametrize("pieces", [[b"0123"], [b"0123456789"], [b"01234", b"56789abc"], [b"0123456789abcdef", b"x"]])
def test_who_listens_hears_exactly_what_is_kept(pieces: list[bytes]) -> None:
    read_end, write_end = os.pipe()
    heard: list[bytes] = []
    stream = output_stream.OutputStream(read_end, 10, heard.append)
    for piece in pieces:
        os.write(write_end, piece)
        assert stream.take()
    os.close(write_end)
    while stream.take():
        pass
    captured = stream.captured()
    stream.close()
    assert b"".join(heard) == captured.kept == b"".join(pieces)[:10]
    assert captured.produced == len(b"".join(pieces))
    assert all(heard)


def test_a_stream_with_nothing_in_it_is_not_at_its_end() -> None:
    read_end, write_end = os.pipe()
    stream = output_stream.OutputStream(read_end, 10)
    assert stream.take()
    os.close(write_end)
    assert not stream.take()
    stream.close()


async def test_closing_gives_every_descriptor_back() -> None:
    before = os.listdir("/proc/self/fd")
    pipe = Pipe(0)
    pipe.write(b"x" * output_stream.CHUNK)
    pipe.hang_up()
    await pipe.stream.pump()
    pipe.stream.close()
    assert os.listdir("/proc/self/fd") == before
