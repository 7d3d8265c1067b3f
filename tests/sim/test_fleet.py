"""A fleet that restarts together, or loses its control plane together, does not come in step.

Beats come every 10 s and polls every 5 s, so that a second sees a tenth and a fifth of the fleet on average; the bounds
are what chance makes of that with so few. Agents in step would all come within one. The start itself is not held up.
"""

import pytest

from tests.rigs.extent import extent
from tests.sim.fleet import INTERVAL_S, most_at_once, run_fleet

AGENTS = extent(16, 50)
LASTS_S = extent(80.0, 400.0)
BEATS, POLLS = "/api/agent/metrics", "/api/agent/tasks"
SHARE, POLLS_SHARE = 0.45, extent(0.65, 0.5)
"""Of the fleet, within any one second."""


@pytest.mark.sized
def test_agents_that_start_together_beat_apart() -> None:
    arrivals = run_fleet(AGENTS, LASTS_S, seed=1)
    assert most_at_once(arrivals, BEATS, 0, 1) == AGENTS, "a start is not held up"
    assert most_at_once(arrivals, BEATS, INTERVAL_S / 10, LASTS_S) <= SHARE * AGENTS
    assert most_at_once(arrivals, POLLS, 1, LASTS_S) <= POLLS_SHARE * AGENTS


@pytest.mark.sized
@pytest.mark.parametrize("down_from_s", [0.0, 15.0])
def test_agents_whose_control_plane_comes_back_do_not_come_together(down_from_s: float) -> None:
    back_s = LASTS_S / 2
    arrivals = run_fleet(AGENTS, LASTS_S, seed=2, down=(down_from_s, back_s))
    assert most_at_once(arrivals, BEATS, back_s, LASTS_S) <= SHARE * AGENTS
    assert most_at_once(arrivals, POLLS, back_s, LASTS_S) <= POLLS_SHARE * AGENTS
    returned = {arrival.node for arrival in arrivals if arrival.path == BEATS and arrival.at_s >= back_s}
    assert len(returned) == AGENTS
