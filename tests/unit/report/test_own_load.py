"""The agent's own load: measured while it is wanted, the worst lag told once."""

import trio
from trio.testing import MockClock

from lattice_agent.errors import StateError
from lattice_agent.facts.detail.own_cost import OwnLoad
from lattice_agent.link.features import Features
from lattice_agent.report.own_load import OwnLoadService


class Queues:
    """What the service asks; counts how often."""

    def __init__(self) -> None:
        self.asked = 0

    async def waiting(self) -> tuple[int, int]:
        self.asked += 1
        return 7, 1000


def service(features: Features, queues: Queues) -> OwnLoadService:
    return OwnLoadService(features, tasks_running=lambda: 3, results_waiting=queues.waiting)


async def test_nothing_is_measured_while_nobody_wants_it(autojump_clock: MockClock) -> None:
    queues = Queues()
    load = service(Features(), queues)
    with trio.move_on_after(100):
        await load.run()
    assert queues.asked == 0
    assert load.take() == OwnLoad(None, 3, None)


async def test_the_worst_lag_since_it_was_asked_is_told_once(mock_clock: MockClock) -> None:
    features, queues = Features(), Queues()
    features.announced(["metrics.detail"])
    load = service(features, queues)
    async with trio.open_nursery() as nursery:
        await nursery.start(load.run)
        for late_s in (0.0, 0.25, 0.0):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1.0 + late_s)
            await trio.testing.wait_all_tasks_blocked()
        told = load.take()
        assert told.loop_lag_s is not None
        assert abs(told.loop_lag_s - 0.25) < 1e-6
        assert (told.tasks_running, told.results_waiting) == (3, 7)
        assert load.take().loop_lag_s is None
        nursery.cancel_scope.cancel()


async def test_queues_are_counted_every_ten_seconds(autojump_clock: MockClock) -> None:
    features, queues = Features(), Queues()
    features.announced(["metrics.detail"])
    with trio.move_on_after(100.5):
        await service(features, queues).run()
    assert 10 <= queues.asked <= 11


async def test_a_journal_that_cannot_be_read_ends_nothing(mock_clock: MockClock) -> None:
    async def refuse() -> tuple[int, int]:
        raise StateError("state.db: disk I/O error")

    features = Features()
    features.announced(["metrics.detail"])
    load = OwnLoadService(features, tasks_running=lambda: 3, results_waiting=refuse)
    with trio.move_on_after(5):
        mock_clock.rate = 100
        await load.run()
    assert load.take().results_waiting is None
