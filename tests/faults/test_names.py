"""No name can be looked up: the resolver says nothing, or that there is no such name."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.mounts import own_mounts
from tests.faults.observed import Watch
from tests.faults.table import apart, note
from tests.rigs.real_processes import Site, wait_until
from tests.rigs.steered_plane import SteeredPlane
from tests.rigs.troubled_wire import TroubledWire

pytestmark = [pytest.mark.needs_root, pytest.mark.long]

NAME = "control.test"
PORT = 53
NO_SUCH_NAME = 3
IPV4, INTERNET = 1, 1


class Resolver:
    """A name server on a loopback address of its own, for whom every name is 127.0.0.1."""

    def __init__(self, place: socket.socket) -> None:
        self._place = place
        self.silent = self.empty = False
        self.asked = 0

    @property
    def address(self) -> str:
        return str(self._place.getsockname()[0])

    def serve(self) -> None:
        """Until the socket is shut down."""
        while True:
            question, asker = self._place.recvfrom(512)
            if not question:
                return
            self.asked += 1
            if not self.silent:
                self._place.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035, section 4.1: the question again, with a record if it asks for IPv4."""
        end = question.index(b"\0", 12) + 5
        number, asked = question[:2], question[12:end]
        found = not self.empty and struct.unpack("!H", asked[-4:-2])[0] == IPV4
        flags = 0x8180 | (NO_SUCH_NAME if self.empty else 0)
        head = number + struct.pack("!5H", flags, 1, int(found), 0, 0)
        record = b"\xc0\x0c" + struct.pack("!HHIH4s", IPV4, INTERNET, 0, 4, bytes((127, 0, 0, 1)))
        return head + asked + (record if found else b"")


@contextmanager
def resolver(address: str) -> Iterator[Resolver]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
        place.bind((address, PORT))
        made = Resolver(place)
        thread = threading.Thread(target=made.serve)
        thread.start()
        try:
            yield made
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (address, PORT))
            thread.join()


@pytest.fixture
def names() -> Iterator[Resolver]:
    with resolver("127.53.0.53") as made:
        yield made


@pytest.mark.parametrize("manner", ["silent", "empty"])
def test_dns_gone(plane: SteeredPlane, wire: TroubledWire, names: Resolver, tmp_path: Path, manner: str) -> None:
    """With the periods of resolv.conf as they are by default: a lookup that nobody answers takes 10 s and more."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver {names.address}\n")
    url = wire.url.replace("127.0.0.1", NAME)
    with own_mounts(f"mount --bind {conf} $(readlink -f /etc/resolv.conf)") as mounts:
        site = Site(tmp_path, url, plane.add_node(), prefix=mounts.enter)
        with site.agent("-allow-insecure-http", "-allow-root-exec=true", "--slots", "2") as agent:
            gate = site.gate("first")
            first = plane.create(site.node, site.script(f"{gate.wait}; echo done"))
            site.wait_starts(1)
            setattr(names, manner, True)
            kept = Watch(agent, wire).beats(3)
            kept.assert_calm(lines=0)
            wire.cut()
            gate.open()
            later = plane.create(site.node, site.script("echo later"))
            watch = Watch(agent)
            site.wait_phase("finished", 1)
            asked = names.asked
            wait_until(lambda: names.asked > asked, "another try")
            seen = watch.until(lambda: "the name cannot be resolved" in agent.log_text(), "the reason")
            seen.assert_calm(lines=6)
            assert "the resolver of this machine" in agent.log_text()
            setattr(names, manner, False)
            wait_until(lambda: "ok again" in agent.log_text(), "the end of it", limit_s=60)
            assert plane.result(first)["stdout"] == "done\n"
            assert plane.result(later)["stdout"] == "later\n"
            assert plane.stored(site.node) == {first: 1, later: 1}
            assert site.started_once_at_most()
            assert agent.stop() == 0
    note(
        "DNS gone",
        during=f"open connections go on; for a new one it is said once for each path that the name cannot be resolved;"
        f" what runs goes on, its result is kept ({seen})",
        after="goes on by itself",
    )
    apart("DNS gone", "it looks up no name but that of its own address, at the start")
