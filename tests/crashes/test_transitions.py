"""The agent is killed around every commit of its journal, and started again on what it left.

Whatever the moment: the control plane ends with exactly one result for the task, the script has started once at most,
and nothing of it is left. ``leases`` is how often the control plane handed the task out, which shows the way it took.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from lattice_agent.exec.policy import AGENT_UPDATE_MARK, REPLACEMENT_REFUSED
from lattice_agent.tasks.shape import INTERRUPTED, TRUNCATED
from tests.crashes.agent_program import ANY, Transition
from tests.rigs.real_processes import Site
from tests.rigs.steered_plane import SteeredPlane, control_plane

pytestmark = pytest.mark.slow

DONE = ""


@dataclass(frozen=True)
class Story:
    """A task, and the site and control plane it happens at."""

    plane: SteeredPlane
    site: Site

    def life_that_dies(
        self, transition: str, when: str, *, slots: int = 1, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """With one slot there is no poll while the task waits or runs, so the order of things is certain."""
        flags = ("--slots", str(slots))
        with self.site.agent(*flags, steered_by=self.plane, die_at=Transition(transition, when)) as agent:
            meanwhile()
            agent.wait_killed()
            agent.wait_spawner_gone()
        self.site.wait_tasks_gone()


# --- how it comes to the transition: each ends with the lease, the start or the result that is needed ----------------


def straight(story: Story, transition: str, when: str) -> None:
    """In the life of a task without trouble."""
    story.life_that_dies(transition, when)


def after_an_interruption(story: Story, transition: str, when: str) -> None:
    """Killed while the script runs; the next life finds it started."""
    with story.site.agent() as agent:
        story.site.wait_starts(1)
        agent.kill()
        agent.wait_spawner_gone()
    story.site.wait_tasks_gone()
    story.life_that_dies(transition, when)


def while_running_too_long(story: Story, transition: str, when: str) -> None:
    """Its lease dies while it runs, so the poll of the other slot brings it again."""

    def outlive_the_lease() -> None:
        story.site.wait_starts(1)
        story.plane.let_leases_die()

    story.life_that_dies(transition, when, slots=2, meanwhile=outlive_the_lease)


def after_waiting_too_long(story: Story, transition: str, when: str) -> None:
    """Its lease dies while it waits for a slot."""
    story.life_that_dies("new to waiting", "after")
    story.plane.let_leases_die()
    story.life_that_dies(transition, when)


def after_giving_up(story: Story, transition: str, when: str) -> None:
    after_waiting_too_long(story, "waiting to given-up", "after")
    story.life_that_dies(transition, when)


def under_a_dead_lease(story: Story, transition: str, when: str) -> None:
    """The control plane answers 403."""
    story.plane.steer(leases_dead=True)
    story.life_that_dies(transition, when)
    story.plane.steer(leases_dead=False)


def after_a_refusal(story: Story, transition: str, when: str) -> None:
    """Its result was refused under the first lease, and it comes again under a second."""
    under_a_dead_lease(story, "finished to refused", "after")
    story.plane.let_leases_die()
    story.life_that_dies(transition, when)


def under_a_smaller_limit(story: Story, transition: str, when: str) -> None:
    """The control plane takes half of what its lease allowed, and answers 400 to more."""
    story.plane.steer(output_limit=OUTPUT_LIMIT // 2)
    story.life_that_dies(transition, when)


def under_no_limit_at_all(story: Story, transition: str, when: str) -> None:
    """The control plane answers 400 to everything."""
    story.plane.steer(output_limit=0)
    story.life_that_dies(transition, when)
    story.plane.steer(output_limit=None)


def after_a_rejection(story: Story, transition: str, when: str) -> None:
    """Its result was not acceptable under the first lease, and it comes again under a second."""
    under_no_limit_at_all(story, "finished to rejected", "after")
    story.plane.let_leases_die()
    story.life_that_dies(transition, when)


# --- the table -------------------------------------------------------------------------------------------------------

OUTPUT_LIMIT = 120
PRINT = "printf '%0100d' 0"
WAIT = "sleep 60"
CUT = f"stdout {TRUNCATED}"
DECLINED = REPLACEMENT_REFUSED[:OUTPUT_LIMIT]


@dataclass(frozen=True)
class Case:
    """``leases_die``: after the crash, so that the task has to be handed out once more."""

    way: Callable[[Story, str, str], None]
    transition: str
    when: str
    error: str = DONE
    starts: int = 1
    leases: int = 1
    leases_die: bool = False
    body: str = PRINT

    def __str__(self) -> str:
        return f"{self.way.__name__}-{self.when} {self.transition}".replace(" ", "_")


CASES = (
    Case(straight, "new to waiting", "before", leases=2, leases_die=True),
    Case(straight, "new to waiting", "after"),
    Case(straight, "waiting to running", "before"),
    Case(straight, "waiting to running", "after", INTERRUPTED, starts=0),
    Case(straight, "running to finished", "before", INTERRUPTED),
    Case(straight, "running to finished", "after"),
    Case(straight, "waiting to finished", "before", DECLINED, starts=0, body=AGENT_UPDATE_MARK),
    Case(straight, "waiting to finished", "after", DECLINED, starts=0, body=AGENT_UPDATE_MARK),
    Case(straight, "finished to accepted", "before"),
    Case(straight, "finished to accepted", "after"),
    Case(after_an_interruption, "running to finished", "before", INTERRUPTED, body=WAIT),
    Case(after_an_interruption, "running to finished", "after", INTERRUPTED, body=WAIT),
    Case(while_running_too_long, "running adopted", "before", INTERRUPTED, leases=3, leases_die=True, body=WAIT),
    Case(while_running_too_long, "running adopted", "after", INTERRUPTED, leases=2, body=WAIT),
    Case(after_waiting_too_long, "waiting to given-up", "before", leases=2),
    Case(after_waiting_too_long, "waiting to given-up", "after", leases=2),
    Case(after_giving_up, "given-up to waiting", "before", leases=3, leases_die=True),
    Case(after_giving_up, "given-up to waiting", "after", leases=2),
    Case(under_a_dead_lease, "finished to refused", "before"),
    Case(under_a_dead_lease, "finished to refused", "after", leases=2, leases_die=True),
    Case(after_a_refusal, "refused to finished", "before", leases=3, leases_die=True),
    Case(after_a_refusal, "refused to finished", "after", leases=2),
    Case(under_a_smaller_limit, "finished shrunk", "before", CUT),
    Case(under_a_smaller_limit, "finished shrunk", "after", CUT),
    Case(under_no_limit_at_all, "finished to rejected", "before", CUT),
    Case(under_no_limit_at_all, "finished to rejected", "after", CUT, leases=2, leases_die=True),
    Case(after_a_rejection, "rejected to finished", "before", CUT, leases=3, leases_die=True),
    Case(after_a_rejection, "rejected to finished", "after", CUT, leases=2),
)


# --- playing it ------------------------------------------------------------------------------------------------------

AT_ONCE = 2


@dataclass(frozen=True)
class Ending:
    """What there is when the last life of a case has ended."""

    task: str
    result: dict[str, Any]
    stored: Counter[str]
    leases: int
    starts: int
    phases: Counter[str]
    left: list[str]


def play(plane: SteeredPlane, place: Path, case: Case) -> Ending:
    site = Site(place, plane.url, plane.add_node())
    task = plane.create(site.node, site.script(case.body), timeout_sec=30, output_limit=OUTPUT_LIMIT)
    case.way(Story(plane, site), case.transition, case.when)
    if case.leases_die:
        plane.let_leases_die()
    with site.agent("--slots", "1", steered_by=plane) as agent:
        result = plane.result(task)
        assert agent.stop() == 0
    leases = plane.task(task)["attempts"]
    left = site.work_directories()
    return Ending(task, result, plane.stored(site.node), leases, len(site.starts()), site.phases(), left)


@pytest.fixture(scope="module")
def endings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Case, Future[Ending]]]:
    """All chosen cases, a few at a time, because most of a case is the start-up of processes.

    Each has a control plane to itself while it is played: what it does to clock and judgement is its own.
    """
    selected = [
        item
        for item in request.session.items
        if getattr(item, "originalname", "") == test_killed_at_the_transition.__name__
    ]
    cases: list[Case] = [item.callspec.params["case"] for item in selected]  # type: ignore[attr-defined]
    planes: SimpleQueue[SteeredPlane] = SimpleQueue()

    def play_on_a_free_plane(case: Case) -> Ending:
        plane = planes.get()
        try:
            return play(plane, tmp_path_factory.mktemp("site"), case)
        finally:
            plane.steer(output_limit=None, leases_dead=False)
            planes.put(plane)

    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            planes.put(stack.enter_context(control_plane(tmp_path_factory.mktemp("plane"))))
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        stack.callback(pool.shutdown, cancel_futures=True)
        yield {case: pool.submit(play_on_a_free_plane, case) for case in cases}


EVERYDAY = frozenset({"straight-after_waiting_to_running", "straight-after_running_to_finished"})


def chosen(case: Case) -> Any:
    mark = pytest.mark.sized if str(case) in EVERYDAY else pytest.mark.long
    return pytest.param(case, marks=mark, id=str(case))


@pytest.mark.parametrize("case", [chosen(case) for case in CASES])
def test_killed_at_the_transition(endings: dict[Case, Future[Ending]], case: Case) -> None:
    ending = endings[case].result()
    assert ending.result["error"] == case.error
    if case.error == DONE:
        assert ending.result["stdout"] == f"{0:0100}"
    assert ending.stored == {ending.task: 1}
    assert ending.starts == case.starts
    assert ending.leases == case.leases
    assert ending.phases == {"accepted": 1}
    assert ending.left == []


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[SteeredPlane]:
    with control_plane(tmp_path) as running:
        yield running


@pytest.mark.long
def test_killed_again_and_again_with_more_tasks_than_slots(plane: SteeredPlane, tmp_path: Path) -> None:
    """Five lives that end at their third to seventh write, whatever it is, then one that may finish."""
    site = Site(tmp_path, plane.url, plane.add_node())
    tasks: list[str] = []
    for number in range(3, 8):
        tasks += [plane.create(site.node, site.script("echo done")) for _ in range(3)]
        point = Transition(ANY, "before" if number % 2 else "after", number)
        with site.agent("--slots", "2", steered_by=plane, die_at=point) as agent:
            agent.wait_killed()
            agent.wait_spawner_gone()
    plane.let_leases_die()
    with site.agent("--slots", "2", steered_by=plane) as agent:
        results = {task: plane.result(task) for task in tasks}
        assert agent.stop() == 0
    assert plane.stored(site.node) == dict.fromkeys(tasks, 1)
    assert site.started_once_at_most()
    endings = {(result["error"], result["stdout"]) for result in results.values()}
    assert endings <= {(DONE, "done\n"), (INTERRUPTED, "")}
    done = {task for task, result in results.items() if result["error"] == DONE}
    assert done <= {start.task_id for start in site.starts()}
    assert site.phases() == {"accepted": len(tasks)}
    assert site.work_directories() == []
