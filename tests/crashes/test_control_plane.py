"""The control plane is killed while it takes the agent's results, and started again on its database.

The agent cannot know which side of the commit the end was on. It delivers again: every task ends with one stored
result, and no script starts a second time.
"""

import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.crashes.hook import Fuse
from tests.crashes.points import SERVER_POINTS
from tests.rigs.cutting_proxy import cutting_proxy
from tests.rigs.real_processes import Site
from tests.rigs.server_process import crashing, serving, started
from tests.rigs.steered_plane import Plane, register_operator

pytestmark = pytest.mark.slow

HALF_ANSWER = "half of the answer to a result is out"
OF_RESULTS = [point.name for point in SERVER_POINTS if "a result is" in point.name or point.name == HALF_ANSWER]


@pytest.mark.long  # one at a time these points are in the matrix too
@pytest.mark.parametrize(("point", "batch"), [*((point, False) for point in OF_RESULTS), (HALF_ANSWER, True)])
def test_control_plane_killed_while_it_takes_results(tmp_path: Path, point: str, batch: bool) -> None:
    database = tmp_path / "control.db"
    operator = register_operator(database)
    count = 3 if batch else 1
    fuse = Fuse(tmp_path / "fuse")
    fuse.lay(point)
    with cutting_proxy("") as proxy:
        # Results that cannot be delivered one by one, as they come, are delivered together.
        held_back = batch
        proxy.lose_request = lambda path: held_back and path.startswith("/api/agent/task-result")
        with started(crashing(database, fuse.path)) as doomed, closing(Plane(doomed.url, operator)) as plane:
            proxy.upstream = doomed.url
            site = Site(tmp_path, proxy.url, plane.add_node())
            tasks = [plane.create(site.node, site.script("echo kept")) for _ in range(count)]
            with site.agent("--slots", str(count)) as agent:
                site.wait_phase("finished", count)
                held_back = False
                assert doomed.wait() == -signal.SIGKILL
                with started(serving(db_path=str(database))) as server, closing(Plane(server.url, operator)) as plane:
                    proxy.upstream = server.url
                    results = [plane.result(task) for task in tasks]
                    site.wait_phase("accepted", count)
                    assert agent.stop() == 0
                    stored = plane.stored(site.node)
    assert [(result["stdout"], result["error"]) for result in results] == [("kept\n", "")] * count
    assert stored == dict.fromkeys(tasks, 1)
    assert sorted(start.task_id for start in site.starts()) == sorted(tasks)
    last_path = "/api/agent/task-results" if batch else "/api/agent/task-result"
    assert len(proxy.times(last_path)) >= 2  # the one that was killed, and again
