"""Which frame of live output goes out when, in virtual time, against a server that places the chunks."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from lattice_agent.link.features import Features
from lattice_agent.tasks.live_sender import ENDED_MOST, FRAMES_PER_S, LINGER_S, PERIOD_S, LiveSender
from lattice_agent.wire.control import MAX_CHUNK, MAX_FRAME, STREAMS, ChunkHeader, decode_chunk
from lattice_agent.wire.ext import CONTROL_TASKS

Frame = dict[str, Any] | tuple[ChunkHeader, bytes]


def read(frame: str | bytes) -> Frame:
    if isinstance(frame, bytes):
        assert len(frame) <= MAX_FRAME
        return decode_chunk(frame)
    found: dict[str, Any] = json.loads(frame)
    return found


async def frame_of(sender: LiveSender) -> Frame:
    return read(await sender.next_frame())


async def chunk_of(sender: LiveSender) -> tuple[ChunkHeader, bytes]:
    frame = await frame_of(sender)
    assert isinstance(frame, tuple)
    return frame


async def nothing_more(sender: LiveSender) -> bool:
    with trio.move_on_after(10 * PERIOD_S) as waiting:
        await sender.next_frame()
    return waiting.cancelled_caught


@pytest.fixture
def sender() -> LiveSender:
    features = Features()
    features.announced([CONTROL_TASKS])
    return LiveSender(features)


async def running(sender: LiveSender, task_id: str = "task_1") -> Callable[[str, bytes], None]:
    """A run that was announced, and of which the server has nothing yet."""
    write = sender.begin(task_id, "lease_1")
    if not sender._open:
        sender.opened()
    assert await frame_of(sender) == {"type": "task.running", "task_id": task_id, "lease_id": "lease_1"}
    sender.output_from(task_id, "lease_1", 0)
    return write


async def test_the_first_bytes_go_at_once_and_more_after_a_while(autojump_clock: MockClock, sender: LiveSender) -> None:
    write = await running(sender)
    write("stdout", b"a")
    assert (await chunk_of(sender))[1] == b"a"
    assert trio.current_time() == 0
    write("stdout", b"b")
    await trio.sleep(PERIOD_S / 2)
    write("stdout", b"c")
    header, data = await chunk_of(sender)
    assert (data, header.offset, header.position, header.stream) == (b"bc", 1, 1, "stdout")
    assert trio.current_time() == pytest.approx(PERIOD_S)
    await trio.sleep(5)
    write("stderr", b"late")
    before = trio.current_time()
    assert (await chunk_of(sender))[1] == b"late"  # the period is over long since
    assert trio.current_time() == before


async def test_a_full_frame_does_not_wait(autojump_clock: MockClock, sender: LiveSender) -> None:
    write = await running(sender)
    write("stdout", b"a")
    await chunk_of(sender)
    write("stdout", b"x" * MAX_CHUNK)
    assert len((await chunk_of(sender))[1]) == MAX_CHUNK
    assert trio.current_time() == 0


async def test_one_sending_has_all_that_gathered_of_both_streams(autojump_clock: MockClock, sender: LiveSender) -> None:
    write = await running(sender)
    for count in range(6):
        write(STREAMS[count % 2], b"%d" % count)
    assert [(await chunk_of(sender))[1] for _ in range(6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert trio.current_time() == 0


async def test_nothing_goes_before_the_server_has_said_where_to_go_on(
    autojump_clock: MockClock, sender: LiveSender
) -> None:
    write = sender.begin("task_1", "lease_1")
    write("stdout", b"early")
    sender.opened()
    announced = {"type": "task.running", "task_id": "task_1", "lease_id": "lease_1", "position": 5}
    assert await frame_of(sender) == announced
    assert await nothing_more(sender)
    sender.output_from("task_1", "another lease", 0)
    sender.output_from("another task", "lease_1", 0)
    sender.output_from("task_1", "lease_1", 6)  # more than there is
    assert await nothing_more(sender)
    sender.output_from("task_1", "lease_1", 2)
    assert (await chunk_of(sender))[1] == b"rly"


async def test_a_flood_delays_another_run_by_one_frame(autojump_clock: MockClock, sender: LiveSender) -> None:
    flood = await running(sender, "flood")
    quiet = await running(sender, "quiet")
    flood("stdout", b"x" * (20 * MAX_CHUNK))
    await chunk_of(sender)
    quiet("stdout", b"here")
    owners = [(await chunk_of(sender))[0].task_id for _ in range(2)]
    assert "quiet" in owners


async def test_a_lost_stream_and_a_new_one(autojump_clock: MockClock, sender: LiveSender) -> None:
    write = await running(sender)
    write("stdout", b"abc")
    await chunk_of(sender)
    sender.closed()
    write("stdout", b"def")
    assert await nothing_more(sender)
    sender.opened()
    announced = {"type": "task.running", "task_id": "task_1", "lease_id": "lease_1", "position": 6}
    assert await frame_of(sender) == announced
    sender.output_from("task_1", "lease_1", 1)
    assert (await chunk_of(sender))[1] == b"bcdef"


async def test_what_is_left_of_an_ended_run_goes_at_once(autojump_clock: MockClock, sender: LiveSender) -> None:
    write = await running(sender)
    write("stdout", b"a")
    await chunk_of(sender)
    write("stdout", b"the end")
    sender.end("task_1")
    assert (await chunk_of(sender))[1] == b"the end"
    assert trio.current_time() == 0
    assert await nothing_more(sender)
    assert not sender._runs


async def test_an_ended_run_is_not_kept_for_a_server_that_does_not_ask(
    autojump_clock: MockClock, sender: LiveSender
) -> None:
    sender.begin("told", "lease_1")("stdout", b"x")
    sender.opened()
    await frame_of(sender)
    sender.end("told")
    sender.begin("never told", "lease_1")("stdout", b"x")
    sender.end("never told")
    assert list(sender._runs) == ["told"]
    with trio.move_on_after(LINGER_S + 1):
        await sender.next_frame()
    assert not sender._runs


async def test_without_a_stream_an_ended_run_is_forgotten_at_once(
    autojump_clock: MockClock, sender: LiveSender
) -> None:
    sender.begin("task_1", "lease_1")("stdout", b"x")
    sender.end("task_1")
    assert not sender._runs
    write = await running(sender, "task_2")
    write("stdout", b"x")
    sender.end("task_2")
    sender.closed()
    assert not sender._runs


async def test_ended_runs_that_wait_are_few(autojump_clock: MockClock, sender: LiveSender) -> None:
    sender.opened()
    for count in range(3 * ENDED_MOST):
        sender.begin(f"task_{count}", "lease_1")
        await frame_of(sender)
        sender.end(f"task_{count}")
        await trio.sleep(0.001)
    assert len(sender._runs) == ENDED_MOST


async def test_a_new_lease_of_a_run_is_announced_anew(autojump_clock: MockClock, sender: LiveSender) -> None:
    write = await running(sender)
    write("stdout", b"abc")
    await chunk_of(sender)
    sender.lease_changed("task_1", "lease_2")
    announced = {"type": "task.running", "task_id": "task_1", "lease_id": "lease_2", "position": 3}
    assert await frame_of(sender) == announced
    sender.output_from("task_1", "lease_1", 0)  # it crossed ours
    assert await nothing_more(sender)
    sender.output_from("task_1", "lease_2", 0)
    header, data = await chunk_of(sender)
    assert (header.lease_id, data) == ("lease_2", b"abc")


async def test_nothing_is_kept_for_a_server_that_does_not_want_it(autojump_clock: MockClock) -> None:
    sender = LiveSender(Features())
    sender.begin("task_1", "lease_1")("stdout", b"x")
    sender.end("task_1")
    assert not sender._runs


async def test_ids_that_leave_no_room_in_a_frame_are_not_live(autojump_clock: MockClock, sender: LiveSender) -> None:
    sender.begin("\x01" * 1000, "lease_1")("stdout", b"x")  # six bytes each in JSON
    write = await running(sender, "t" * 1024)
    write("stdout", b"x" * MAX_CHUNK)
    await chunk_of(sender)  # ``read`` looks at the size
    sender.lease_changed("t" * 1024, "\x01" * 1000)
    assert not sender._runs


STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(STREAMS), st.binary(max_size=60)),
    st.tuples(st.just("send"), st.integers(1, 5)),
    st.tuples(st.just("lose"), st.integers(0, 3), st.booleans()),
)


@settings(deadline=None)
@given(st.lists(STEP, max_size=40))
def test_whatever_is_cut_the_server_has_the_bytes_that_were_produced(steps: list[tuple[Any, ...]]) -> None:
    """For any writes, cuts, frames lost with a connection, and servers that forgot what they had."""

    async def scenario() -> None:
        features = Features()
        features.announced([CONTROL_TASKS])
        sender = LiveSender(features)
        write, produced, server = sender.begin("task_1", "lease_1"), bytearray(), Placing()
        streams: dict[str, bytes] = dict.fromkeys(STREAMS, b"")
        sender.opened()
        for step in steps:
            if step[0] == "write":
                _, stream, data = step
                write(stream, data)
                produced += data
                streams[stream] += data
            elif step[0] == "send":
                await server.take(sender, step[1])
            else:
                await server.take(sender, step[1], lost=True)
                sender.closed()
                server = Placing() if step[2] else server
                sender.opened()
        await server.take(sender, 1000)
        assert server.have == produced
        assert server.streams == streams

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


class Placing:
    """A server that takes a chunk where it belongs, and nothing else."""

    def __init__(self) -> None:
        self.have = bytearray()
        self.streams: dict[str, bytes] = dict.fromkeys(STREAMS, b"")

    async def take(self, sender: LiveSender, most: int, *, lost: bool = False) -> None:
        """At most so many frames, as long as any come."""
        for _ in range(most):
            with trio.move_on_after(2 * PERIOD_S) as waiting:
                frame = await frame_of(sender)
            if waiting.cancelled_caught:
                return
            if lost:
                continue
            if isinstance(frame, dict):
                sender.output_from(frame["task_id"], frame["lease_id"], len(self.have))
                continue
            header, data = frame
            assert header.position == len(self.have)
            assert header.offset == len(self.streams[header.stream])
            self.have += data
            self.streams[header.stream] += data


async def test_many_small_frames_go_at_a_pace(autojump_clock: MockClock, sender: LiveSender) -> None:
    """A script that changes from stream to stream makes a frame of every write."""
    write = await running(sender)
    for count in range(6_000):
        write(STREAMS[count % 2], b"x")
    for _ in range(3_000):
        await chunk_of(sender)
    assert trio.current_time() >= 3_000 / FRAMES_PER_S
    assert trio.current_time() <= 3_000 / FRAMES_PER_S * 1.2
