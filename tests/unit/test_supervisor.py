"""Restart policy and readiness of services."""

import pytest
import trio
from trio.testing import MockClock

from lattice_agent.errors import ServiceFailedError
from lattice_agent.supervisor import RestartPolicy, restart_delay, supervise

POLICY = RestartPolicy(base_s=1, cap_s=8, tries=5, window_s=100)


class Flaky:
    """Crashes ``crashes`` times after ``lives_s``, then returns."""

    name = "flaky"

    def __init__(self, crashes: int, lives_s: float = 0.0) -> None:
        self.crashes = crashes
        self.lives_s = lives_s
        self.starts: list[float] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.starts.append(trio.current_time())
        await trio.sleep(self.lives_s)
        if len(self.starts) <= self.crashes:
            raise ValueError("a fault")
        task_status.started()


@pytest.mark.parametrize(
    ("crashes", "now", "delay"),
    [((10.0,), 10.0, 1), ((9.0, 10.0), 10.0, 2), ((1, 2, 3, 4.0), 5.0, 8), ((1, 2, 3, 4, 5.0), 5.0, None)],
)
def test_delay_doubles_up_to_its_cap_and_ends(crashes: tuple[float, ...], now: float, delay: float | None) -> None:
    assert restart_delay(POLICY, crashes, now) == delay


def test_old_crashes_are_forgiven() -> None:
    assert restart_delay(POLICY, (0.0, 1.0, 2.0, 3.0, 200.0), 200.0) == 1


async def test_a_service_that_crashes_is_started_again(autojump_clock: MockClock) -> None:
    flaky = Flaky(crashes=3)
    await supervise(flaky, policy=POLICY)
    gaps = [b - a for a, b in zip(flaky.starts, flaky.starts[1:], strict=False)]
    assert gaps == pytest.approx([1, 2, 4])


async def test_one_that_keeps_crashing_ends_the_agent_with_a_clear_code(autojump_clock: MockClock) -> None:
    with pytest.raises(ServiceFailedError, match="flaky crashed 5 times") as caught:
        await supervise(Flaky(crashes=99), policy=POLICY)
    assert caught.value.exit_code == 69


async def test_one_that_crashes_rarely_goes_on_for_ever(autojump_clock: MockClock) -> None:
    flaky = Flaky(crashes=30, lives_s=60)
    await supervise(flaky, policy=POLICY)
    assert len(flaky.starts) == 31


async def test_readiness_does_not_wait_for_a_service_that_cannot_start(autojump_clock: MockClock) -> None:
    async def ready(*, task_status: trio.TaskStatus[None]) -> None:
        await supervise(Flaky(crashes=2), policy=POLICY, task_status=task_status)

    async with trio.open_nursery() as nursery:
        with trio.fail_after(0.5):
            await nursery.start(ready)


async def test_cancellation_is_not_a_crash(autojump_clock: MockClock) -> None:
    flaky = Flaky(crashes=0, lives_s=1000)
    with trio.move_on_after(5) as scope:
        await supervise(flaky, policy=POLICY)
    assert scope.cancelled_caught
    assert len(flaky.starts) == 1
