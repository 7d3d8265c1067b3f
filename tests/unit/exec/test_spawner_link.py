"""The agent's line to its spawner: what is heard and by whom, and a new spawner for one that died."""

import logging
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest
import trio

from lattice_agent.errors import PrivilegesGoneError, SandboxError, SpawnerGoneError
from lattice_agent.exec import spawner_link as module
from lattice_agent.exec.kernel import seqpacket
from lattice_agent.exec.launch import SpawnerProcess
from lattice_agent.exec.plan import Level, Profile
from lattice_agent.exec.requests import (
    TO_SPAWNER,
    CellFailed,
    CellGone,
    CellReady,
    Destroy,
    KillCell,
    Message,
    PrepareCell,
    Refused,
    RunGone,
    decode,
    encode,
)
from lattice_agent.exec.spawner_link import SEND_S, SpawnerLink
from tests.hostile.rig import OUTER_LIMIT_S, wait_until
from tests.rigs.cells import StagedCell

STRICT = Profile(Level.STRICT)


class Played:
    """A spawner that the test plays: a process that does nothing, and the other end of its socket."""

    def __init__(self) -> None:
        ours, self.socket = seqpacket.pair()
        process = subprocess.Popen(["/bin/sleep", "600"], stdin=subprocess.DEVNULL)
        self.process = SpawnerProcess(process, ours)

    def say(self, message: Message | bytes, descriptors: list[int] | None = None) -> None:
        data = message if isinstance(message, bytes) else encode(message)
        self.socket.sendmsg([data], seqpacket.rights(descriptors or []))

    def heard(self) -> list[Message]:
        """Everything that was asked."""
        messages = []
        while received := seqpacket.receive(self.socket, 65_536):
            data, passed = received
            if not data:
                break
            messages.append(decode(data, TO_SPAWNER, len(passed)))
        return messages

    def die(self) -> None:
        self.process.process.kill()
        self.socket.close()

    def close(self) -> None:
        self.socket.close()
        self.process.process.kill()
        self.process.process.wait()


class Theatre:
    """Spawners one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spawners = [Played()]
        self.failures = 0
        monkeypatch.setattr(module, "start_spawner", self._start)

    def _start(self) -> SpawnerProcess:
        if self.failures:
            self.failures -= 1
            raise SandboxError("cannot start the spawner", hint="free some memory")
        self.spawners.append(Played())
        return self.spawners[-1].process

    def more_than(self, count: int) -> bool:
        return len(self.spawners) > count

    @property
    def now(self) -> Played:
        return self.spawners[-1]

    def close(self) -> None:
        for played in self.spawners:
            played.close()


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Iterator[Theatre]:
    before = len(os.listdir("/proc/self/fd"))
    theatre = Theatre(monkeypatch)
    yield theatre
    theatre.close()
    assert len(os.listdir("/proc/self/fd")) == before


@asynccontextmanager
async def a_link(theatre: Theatre, default: Profile | None = None) -> AsyncGenerator[SpawnerLink, None]:
    link = SpawnerLink(theatre.now.process, default)
    with trio.fail_after(OUTER_LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.serve)
            await trio.testing.wait_all_tasks_blocked()
            yield link
            nursery.cancel_scope.cancel()
    for played in theatre.spawners:
        played.process.process.kill()  # a played spawner does not go by itself
    link.close()


async def caught_up() -> None:
    """Until the link has taken in what was said."""
    for _ in range(5):
        await trio.sleep(0.005)
        await trio.testing.wait_all_tasks_blocked()


async def test_numbers_are_never_used_twice(theatre: Theatre) -> None:
    async with a_link(theatre) as link:
        tickets = [link.enter(lambda: None) for _ in range(3)]
        numbers = [link.number(), *(ticket.number for ticket in tickets), link.number()]
        link.leave(tickets[0])
        numbers += [link.number(), link.enter(lambda: None).number]
    assert len(set(numbers)) == len(numbers)


async def test_what_is_posted_and_sent_arrives_in_order(theatre: Theatre) -> None:
    async with a_link(theatre) as link:
        assert link.post(KillCell(1))
        await link.send(Destroy(2), [])
        assert link.post(KillCell(3))
        assert theatre.now.heard() == [KillCell(1), Destroy(2), KillCell(3)]


async def test_descriptors_that_are_sent_stay_the_senders(theatre: Theatre) -> None:
    read_end, write_end = os.pipe()
    async with a_link(theatre) as link:
        await link.send(KillCell(1), [write_end])
        received = seqpacket.receive(theatre.now.socket, 65_536)
        assert received is not None
        seqpacket.close_all(received[1])
    os.fstat(write_end)
    os.close(read_end)
    os.close(write_end)


async def test_words_about_cells_reach_the_pool(theatre: Theatre) -> None:
    async with a_link(theatre, STRICT) as link:
        asked = [message.cell for message in theatre.now.heard() if isinstance(message, PrepareCell)]
        assert len(asked) == 2
        staged = StagedCell(asked[0])
        theatre.now.say(CellReady(asked[0], []), staged.passed)
        seqpacket.close_all(staged.passed)
        theatre.now.say(CellFailed(asked[1], b"root: no"))
        await caught_up()
        cell = await link.cells.take(STRICT)
        assert cell.number == asked[0]
        end = link.cells.end_of(cell)
        theatre.now.say(CellGone(asked[0], 5, 1))
        await end.gone.wait()
        assert (end.memory_peak, end.memory_hit) == (5, True)
        cell.close()
        staged.close()


async def test_words_about_runs_reach_their_ticket(theatre: Theatre) -> None:
    async with a_link(theatre) as link:
        refused, gone = link.enter(lambda: None), link.enter(lambda: None)
        theatre.now.say(Refused(refused.number, b"Run: no"))
        theatre.now.say(RunGone(gone.number, 7))
        await gone.gone.wait()
        assert (refused.refusal, gone.orphans_killed) == ("Run: no", 7)
        assert not refused.gone.is_set()


async def test_a_refused_cell_reaches_whoever_waits_for_it(theatre: Theatre) -> None:
    async with a_link(theatre) as link:
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                with pytest.raises(SandboxError, match="64 cells now"):
                    await link.cells.take(STRICT)

            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            [request] = theatre.now.heard()
            assert isinstance(request, PrepareCell)
            theatre.now.say(Refused(request.cell, b"PrepareCell: 64 cells now"))


async def test_words_about_what_is_over_are_ignored(theatre: Theatre) -> None:
    async with a_link(theatre) as link:
        ticket = link.enter(lambda: None)
        link.leave(ticket)
        for message in (
            Refused(ticket.number, b"x"),
            RunGone(ticket.number, 1),
            CellGone(99, 0, 0),
            CellFailed(98, b"x"),
        ):
            theatre.now.say(message)
        await caught_up()
        assert link.restarts == 0
        assert not ticket.gone.is_set()


@pytest.mark.parametrize("count", [0, 1, 6])
async def test_nonsense_is_passed_over_and_its_descriptors_closed(
    theatre: Theatre, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    read_end, write_end = os.pipe()
    async with a_link(theatre) as link:
        for data in (b"nonsense", encode(KillCell(1)), encode(CellGone(1, 0, 0))[:-1], b"x" * 40_000):
            theatre.now.say(data, [write_end] * count)
        ticket = link.enter(lambda: None)
        theatre.now.say(RunGone(ticket.number, 0))
        await ticket.gone.wait()
        assert link.restarts == 0
    os.close(write_end)
    assert os.read(read_end, 1) == b""  # end-of-file: nobody holds the other end
    os.close(read_end)
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 4


async def test_a_spawner_that_dies_is_replaced_and_everybody_told(theatre: Theatre) -> None:
    told: list[str] = []
    async with a_link(theatre) as link:
        ticket = link.enter(lambda: told.append("gone"))
        first = link.spawner_pid
        theatre.now.die()
        await ticket.gone.wait()
        assert told == ["gone"]
        await wait_until(lambda: link.restarts)
        assert link.spawner_pid != first
        assert link.post(KillCell(1))
        assert theatre.now.heard() == [KillCell(1)]
        assert theatre.spawners[0].process.ended()


async def test_what_is_sent_meanwhile_waits_for_the_next_one(theatre: Theatre) -> None:
    theatre.failures = 2
    async with a_link(theatre) as link:
        theatre.now.die()
        assert not link.post(KillCell(1))
        await link.send(KillCell(2), [])
        assert theatre.now.heard() == [KillCell(2)]
        assert len(theatre.spawners) == 2


async def test_without_any_spawner_sending_ends_with_an_error(
    theatre: Theatre, autojump_clock: trio.testing.MockClock
) -> None:
    theatre.failures = 1000
    async with a_link(theatre) as link:
        theatre.now.die()
        started = trio.current_time()
        with pytest.raises(SpawnerGoneError, match="no spawner took the request"):
            await link.send(KillCell(1), [])
        assert trio.current_time() - started == pytest.approx(SEND_S, abs=0.1)


async def test_spawners_that_die_young_are_replaced_ever_more_slowly(
    theatre: Theatre, autojump_clock: trio.testing.MockClock
) -> None:
    times = []
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            link = SpawnerLink(theatre.now.process)
            nursery.start_soon(link.serve)
            while True:
                times.append(trio.current_time())
                seen = len(theatre.spawners)
                theatre.now.die()
                await wait_until(partial(theatre.more_than, seen))
    link.close()
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[:4] == pytest.approx([0.05, 0.1, 0.2, 0.4], abs=0.03)
    assert max(pauses) == pytest.approx(5.0, abs=0.1)


async def test_one_that_does_not_answer_can_be_replaced(theatre: Theatre) -> None:
    async with a_link(theatre) as link:
        link.replace()
        assert theatre.now.process.process.wait() == -signal.SIGKILL
        theatre.now.socket.close()  # a real one's goes with it
        await wait_until(lambda: link.restarts)
        assert link.post(KillCell(1))


async def test_an_agent_that_gave_its_privileges_up_ends_instead(theatre: Theatre) -> None:
    link = SpawnerLink(theatre.now.process)
    link._uid = os.geteuid() + 1
    theatre.now.die()
    with trio.fail_after(OUTER_LIMIT_S), pytest.raises(PrivilegesGoneError) as caught:
        await link.serve()
    assert "service manager" in caught.value.hint()
    assert len(theatre.spawners) == 1
    link.close()


async def test_a_failure_to_start_another_is_logged_with_what_to_do(
    theatre: Theatre, caplog: pytest.LogCaptureFixture
) -> None:
    theatre.failures = 1
    async with a_link(theatre) as link:
        theatre.now.die()
        await wait_until(lambda: link.restarts)
    assert "cannot start the spawner; free some memory" in caplog.messages
