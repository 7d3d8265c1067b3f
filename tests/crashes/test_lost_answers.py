"""Answers that get lost on the way and leases that die while tasks wait, with more tasks than slots."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rigs import steered_server
from tests.rigs.cutting_proxy import cutting_proxy
from tests.rigs.real_processes import Site, wait_until
from tests.rigs.steered_plane import Plane, SteeredPlane, control_plane

pytestmark = pytest.mark.slow

TASKS = 5


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteeredPlane]:
    with control_plane(tmp_path_factory.mktemp("extended")) as running:
        yield running


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteeredPlane]:
    with control_plane(tmp_path_factory.mktemp("base"), wire=steered_server.BASE) as running:
        yield running


def first(number: int, prefix: str) -> Callable[[str], bool]:
    """Whether a request is among the first so many whose path begins so."""
    left = iter(range(number))
    return lambda path: path.startswith(prefix) and next(left, None) is not None


def expect_all_once(plane: Plane, site: Site, tasks: list[str]) -> None:
    assert plane.stored(site.node) == dict.fromkeys(tasks, 1)
    assert sorted(start.task_id for start in site.starts()) == sorted(tasks)


@pytest.mark.parametrize("wire", ["extended", pytest.param("base", marks=pytest.mark.long)])
def test_lost_answers_to_results(request: pytest.FixtureRequest, tmp_path: Path, wire: str) -> None:
    """The control plane has the result and the agent does not know: it sends it again and nothing runs again."""
    plane: SteeredPlane = request.getfixturevalue(wire)
    with cutting_proxy(plane.url) as proxy:
        site = Site(tmp_path, proxy.url, plane.add_node())
        proxy.lose_answer = first(2, "/api/agent/task-result")
        tasks = [plane.create(site.node, site.script("echo kept")) for _ in range(TASKS)]
        with site.agent("--slots", "2") as agent:
            results = [plane.result(task) for task in tasks]
            site.wait_phase("accepted", TASKS)
            assert agent.stop() == 0
    assert [(result["stdout"], result["error"]) for result in results] == [("kept\n", "")] * TASKS
    expect_all_once(plane, site, tasks)


@pytest.mark.long
def test_lost_answers_to_polls(extended: SteeredPlane, tmp_path: Path) -> None:
    """Tasks were handed out and did not arrive: they come again when their leases have died, and run once."""
    plane = extended
    with cutting_proxy(plane.url) as proxy:
        site = Site(tmp_path, proxy.url, plane.add_node())
        proxy.lose_answer = first(2, "/api/agent/tasks")
        tasks = [plane.create(site.node, site.script("echo kept")) for _ in range(TASKS)]
        with site.agent("--slots", "2") as agent:
            wait_until(lambda: all(plane.task(task)["attempts"] for task in tasks), "every task to be handed out")
            plane.let_leases_die()
            results = [plane.result(task) for task in tasks]
            assert agent.stop() == 0
    assert [(result["stdout"], result["error"]) for result in results] == [("kept\n", "")] * TASKS
    assert max(plane.task(task)["attempts"] for task in tasks) == 2
    expect_all_once(plane, site, tasks)


@pytest.mark.long
def test_leases_that_die_while_tasks_wait_for_a_slot(base: SteeredPlane, tmp_path: Path) -> None:
    """An unmodified control plane hands out three at once; what waits too long is given up, comes again, and runs."""
    site = Site(tmp_path, base.url, base.add_node())
    gate = site.gate("end")
    tasks = [base.create(site.node, site.script(gate.wait)) for _ in range(3)]
    with site.agent("--slots", "1", steered_by=base) as agent:
        site.wait_starts(1)
        site.wait_phase("waiting", 2)
        base.let_leases_die()
        gate.open()
        results = [base.result(task) for task in tasks]
        assert agent.stop() == 0
    assert [result["error"] for result in results] == [""] * 3
    assert sorted(base.task(task)["attempts"] for task in tasks) == [1, 2, 2]
    expect_all_once(base, site, tasks)
