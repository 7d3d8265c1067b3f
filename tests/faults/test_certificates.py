"""The control plane's certificate: replaced by one that is not trusted, expired, and put right again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.observed import Watch
from tests.faults.table import apart, note
from tests.rigs.cutting_proxy import CuttingProxy, cutting_proxy
from tests.rigs.real_processes import Site, wait_until
from tests.rigs.steered_plane import SteeredPlane
from tests.rigs.transport import Authority, Identity

pytestmark = pytest.mark.long
HERE = "IP:127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def good(authority: Authority) -> Identity:
    return authority.issue("good", alternatives=HERE)


@pytest.fixture
def front(plane: SteeredPlane, good: Identity) -> Iterator[CuttingProxy]:
    """What speaks TLS before the control plane; it has no control stream."""
    with cutting_proxy(plane.url) as proxy:
        proxy.tls = good.server_context()
        proxy.lose_request = lambda path: path.endswith("/control/stream")
        yield proxy


@pytest.fixture
def site(plane: SteeredPlane, front: CuttingProxy, tmp_path: Path) -> Site:
    return Site(tmp_path, front.url.replace("http:", "https:"), plane.add_node())


@pytest.fixture(params=["changed", "changed behind a pin", "expired"])
def bad(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> tuple[str, Identity, str]:
    """Row of the table, the certificate, and what the agent says of it."""
    if request.param == "expired":
        expired = authority.issue("old", alternatives=HERE, days=-1)
        return "certificate expired", expired, "certificate is refused (certificate has expired)"
    if request.param == "changed behind a pin":
        return "certificate changed", authority.issue("other", alternatives=HERE), "which is not pinned"
    stranger = Authority(tmp_path, "stranger").issue("changed", alternatives=HERE)
    return "certificate changed", stranger, "the certificate is refused ("


def test_a_certificate_that_is_refused(
    plane: SteeredPlane,
    front: CuttingProxy,
    site: Site,
    authority: Authority,
    good: Identity,
    bad: tuple[str, Identity, str],
) -> None:
    row, identity, words = bad
    flags = ["--ca-file", str(authority.certificate), "--slots", "2"]
    if "pinned" in words:
        flags += ["--pin-sha256", good.pin]
    with site.agent(*flags) as agent:
        gate = site.gate("first")
        first = plane.create(site.node, site.script(f"{gate.wait}; echo done"))
        site.wait_starts(1)
        front.tls = identity.server_context()
        front.cut()
        watch = Watch(agent)
        later = plane.create(site.node, site.script("echo later"))
        gate.open()
        site.wait_phase("finished", 1)
        wait_until(lambda: "/api/agent/task-result" in agent.log_text(), "a result that finds no way")
        asked = len(front.exchanges)
        seen = watch.until(lambda: "/api/agent/metrics: unreachable" in agent.log_text(), "a heartbeat likewise")
        assert words in agent.log_text()
        assert len(front.exchanges) == asked, "something was said to a server that is not trusted"
        seen.assert_calm(lines=6)
        front.tls = good.server_context()
        assert plane.result(first)["stdout"] == "done\n"
        assert plane.result(later)["stdout"] == "later\n"
        assert plane.stored(site.node) == {first: 1, later: 1}
        assert site.started_once_at_most()
        assert agent.stop() == 0
    note(
        row,
        during=f"nothing is said to such a server, the token least of all; what runs goes on, its result is kept; told"
        f" once for each path, with the reason ({seen})",
        after="goes on by itself when the certificate is right again",
    )
    apart(row, "it is its own certificate; one that it cannot load is told at the start, code 78")
