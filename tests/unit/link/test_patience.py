"""How long a service waits after each kind of verdict."""

import random

import pytest

from lattice_agent.link.patience import UNAUTHORIZED_BASE_S, UNAUTHORIZED_CAP_S, Patience
from lattice_agent.link.verdict import Kind, Verdict


def verdict(kind: Kind, retry_after_s: float | None = None) -> Verdict:
    return Verdict(kind, "x", retry_after_s=retry_after_s)


def test_weak_point_31_a_refused_token_is_retried_slowly() -> None:
    patience, rng = Patience(), random.Random(1)
    delays = [patience.after(verdict(Kind.UNAUTHORIZED), rng) for _ in range(20)]
    assert all(UNAUTHORIZED_BASE_S / 2 <= delay_s <= UNAUTHORIZED_CAP_S for delay_s in delays)


@pytest.mark.parametrize("kind", [Kind.BROKEN, Kind.UNREACHABLE, Kind.REFUSED, Kind.THROTTLED])
def test_weak_point_07_trouble_backs_off_and_ok_forgets_it(kind: Kind) -> None:
    patience, rng = Patience(base_s=1.0, cap_s=60.0), random.Random(1)
    delays = [patience.after(verdict(kind), rng) for _ in range(10)]
    assert delays[0] <= 1.0
    assert max(delays) > 10
    assert patience.after(verdict(Kind.OK), rng) == 0
    assert patience.after(verdict(kind), rng) <= 1.0


def test_weak_point_07_retry_after_is_kept() -> None:
    assert 30 <= Patience().after(verdict(Kind.THROTTLED, 30.0), random.Random(1)) <= 37.5
