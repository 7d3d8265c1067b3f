"""Everything that is usually left to chance, from one seed: a seed is a run, to the byte.

What there is: the order in which trio runs tasks that are ready at the same time; ids and tokens; the sample of nodes
that a control plane wakes. Jitter comes from generators that are handed in. Nothing depends on the hash of a string,
which ``test_simulation.py`` shows by running a seed under several.
"""

import random
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest import mock

import trio._core._run as trio_run

from tests.sim.party import PartyDatetime

_ASK_THE_TIME = ("lattice_agent.tasks.run", "lattice_agent.tasks.sender", "server_stub.bootstrap")
_DRAW_SECRETS = ("server_stub.ids", "lattice_agent.usage.books", "lattice_agent.link.websocket")
_SWEEPS = {"REVOKE_SECONDS": 20, "TASKS_SECONDS": 15}
"""Slower than in earnest, where they are 2 and 3: nothing depends on their pace, and a seed lasts an hour."""


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Until the end of the block."""
    chance = random.Random(f"{seed} ids")
    secrets = SimpleNamespace(
        token_bytes=chance.randbytes,
        token_hex=lambda count: chance.randbytes(count).hex(),
        token_urlsafe=lambda count: chance.randbytes(count).hex()[:43],
    )
    with ExitStack() as patches:
        # trio shuffles what is ready with a generator of its own, after sorting it if this is set: the one place that
        # makes its scheduling a function of a seed. It is what trio's own plugin for hypothesis does.
        patches.enter_context(mock.patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True))
        patches.enter_context(mock.patch.object(trio_run, "_r", random.Random(f"{seed} scheduler")))
        for module in _DRAW_SECRETS:
            patches.enter_context(mock.patch(f"{module}.secrets", secrets))
        for module in _ASK_THE_TIME:
            patches.enter_context(mock.patch(f"{module}.datetime", PartyDatetime))
        patches.enter_context(mock.patch("server_stub.api.announce.random", random.Random(f"{seed} wake")))
        drawn_uuid = SimpleNamespace(uuid4=lambda: uuid.UUID(bytes=chance.randbytes(16), version=4))
        patches.enter_context(mock.patch("server_stub.ids.uuid", drawn_uuid))
        for name, seconds in _SWEEPS.items():
            patches.enter_context(mock.patch(f"server_stub.sweep.{name}", seconds))
        yield
