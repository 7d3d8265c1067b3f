"""Control planes, or what stands before them, that answer slowly, byte by byte, late, or with far too much."""

import gzip
import threading
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import pytest

from tests.faults.observed import Watch
from tests.faults.table import note
from tests.rigs.cutting_proxy import CuttingProxy, cutting_proxy
from tests.rigs.real_processes import Site, wait_until
from tests.rigs.steered_plane import SteeredPlane

ONLINE_S = 90.0
"""Without a heartbeat for so long a control plane calls a node offline."""
DEADLINE_S = 30.0
LORIS_S = 5.0
LATE_S = 29.0


@pytest.fixture
def front(plane: SteeredPlane) -> Iterator[CuttingProxy]:
    with cutting_proxy(plane.url) as proxy:
        proxy.lose_request = lambda path: path.endswith("/control/stream")
        yield proxy


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when the fault is over: whoever dawdles stops it."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def site(plane: SteeredPlane, front: CuttingProxy, tmp_path: Path) -> Site:
    return Site(tmp_path, front.url, plane.add_node())


def as_usual(_path: str, agent: BufferedIOBase, answer: bytes) -> None:
    agent.write(answer)


def byte_by_byte(_path: str, agent: BufferedIOBase, answer: bytes) -> None:
    for at in range(len(answer)):
        agent.write(answer[at : at + 1])


@pytest.mark.long
def test_1_byte_at_a_time(plane: SteeredPlane, front: CuttingProxy, site: Site) -> None:
    front.hand_over = byte_by_byte
    with site.agent() as agent:
        agent.wait_log("the control plane knows us")
        watch = Watch(agent, front)
        task = plane.create(site.node, site.script("echo done"))
        assert plane.result(task)["stdout"] == "done\n"
        seen = watch.beats(2)
        seen.assert_calm(lines=1)  # there is no control stream
        assert agent.stop() == 0
    note(
        "1 byte at a time",
        during=f"everything goes on ({seen})",
        after="nothing to recover from",
        plane="reads requests that come so; a head that has not come after 30 s ends its connection",
    )


def bomb() -> bytes:
    """1 MiB that unpacks to 1 GiB."""
    return gzip.compress(bytes(1 << 26)) * 16


@pytest.mark.long
def test_gzip_bomb(plane: SteeredPlane, front: CuttingProxy, site: Site) -> None:
    body = bomb()
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with site.agent() as agent:
        agent.wait_log("the control plane knows us")
        wait_until(lambda: front.beats, "a heartbeat")
        front.hand_over = lambda path, agent, answer: agent.write(head + body)
        watch = Watch(agent, front)
        seen = watch.beats(4)
        assert any("Content-Encoding 'gzip', asked for identity" in line for line in seen.said)
        seen.assert_calm(lines=6)
        front.hand_over = as_usual
        task = plane.create(site.node, site.script("echo done"))
        assert plane.result(task)["stdout"] == "done\n"
        assert agent.stop() == 0
    note(
        "gzip bomb",
        during=f"refused before its first byte is unpacked, told once for each path ({seen})",
        after="goes on by itself",
        plane="takes no packed body: refused with 400, or read as the JSON that it is not",
    )


@pytest.mark.long
def test_slow_loris(plane: SteeredPlane, front: CuttingProxy, site: Site, over: threading.Event) -> None:
    """Each exchange ends at its deadline, whatever trickles; the control plane has had the requests all the same."""

    def trickle(_path: str, agent: BufferedIOBase, answer: bytes) -> None:
        for at in range(len(answer)):
            if over.wait(LORIS_S):
                agent.write(answer[at:])
                return
            agent.write(answer[at : at + 1])

    with site.agent("--slots", "2") as agent:
        gate = site.gate("first")
        first = plane.create(site.node, site.script(f"{gate.wait}; echo done"))
        site.wait_starts(1)
        front.hand_over = trickle
        gate.open()
        second = plane.create(site.node, site.script("echo later"))
        watch = Watch(agent, front)
        seen = watch.beats(2, apart_s=ONLINE_S)
        seen.assert_calm(lines=8)
        assert seen.gap_s < ONLINE_S / 2
        assert any(f"not finished within {DEADLINE_S:.0f} s" in line for line in seen.said)
        assert plane.node(site.node)["online"]
        front.hand_over = as_usual
        over.set()
        plane.let_leases_die()  # the one of the second task went down with its answer
        assert plane.result(first)["stdout"] == "done\n"
        wait_until(lambda: plane.task(second)["results"], "the second result")
        assert plane.stored(site.node) == {first: 1, second: 1}
        assert site.started_once_at_most()
        assert agent.stop() == 0
    note(
        "slow-loris",
        during=f"each exchange ends after 30 s; heartbeats arrive {seen.gap_s:.0f} s apart, and the node stays online;"
        f" results are kept ({seen})",
        after="goes on by itself; a result that had arrived is not stored twice",
    )


@pytest.mark.long
def test_answer_after_29_s(plane: SteeredPlane, front: CuttingProxy, site: Site, over: threading.Event) -> None:
    def late(_path: str, agent: BufferedIOBase, answer: bytes) -> None:
        over.wait(LATE_S)
        agent.write(answer)

    front.hand_over = late
    task = plane.create(site.node, site.script("echo done"))
    with site.agent() as agent:
        agent.wait_log('"ready"')
        watch = Watch(agent, front)
        seen = watch.beats(2, apart_s=ONLINE_S)
        assert seen.gap_s < ONLINE_S / 2
        seen.assert_calm(lines=1)
        result = plane.task(task)["results"][0]
        assert result["stdout"] == "done\n"
        assert len(site.starts()) == 1
        assert plane.node(site.node)["online"]
        over.set()
        front.hand_over = as_usual
        assert agent.stop() == 0
    note(
        "answer after 29 s",
        during=f"is an answer: a lease that came so is run, results are taken, heartbeats {seen.gap_s:.0f} s apart keep"
        f" the node online ({seen})",
        after="nothing to recover from",
        plane="has a deadline for requests, not for its own answers; what it did for one that was given up counts",
    )
