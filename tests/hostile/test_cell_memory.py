"""Scripts that take all the memory they can get, also where no process shows it.

A group of the memory controller, outside of everything, bounds the world and measures what is really in use. At a limit
of 256 MiB a cell may overshoot by 64.
"""

import resource
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.hostile.cell_rig import (
    AGENTS,
    MIB,
    ROOT,
    Agent,
    World,
    an_agent,
    assert_nothing_left,
    plainly,
)

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

LIMIT = 256 * MIB
MOST = LIMIT + 64 * MIB
WORLD_BYTES = 1024 * MIB
"""The outer limit, far from what any attack here gets to."""
SOMEBODY = 61000
EVERYWHERE = ("strict", "network", "landlock")
OWN_OR_NOT = ("strict", "landlock")
"""With namespaces and without; level network differs from strict in its sockets alone."""


@dataclass(frozen=True)
class Hog:
    """A script of the corpus, how it may end, and at which levels it is let loose."""

    name: str
    ends: tuple[str, ...]
    levels: tuple[str, ...] = OWN_OR_NOT
    uid: int = SOMEBODY
    most: int = MOST


KILLED, REFUSED = ("memory_limit",), ("EPERM",)
BOUNDED = ("memory_limit", "exited", "timed_out", "EPERM")
HOGS = [
    Hog("memory_one_process", KILLED),
    Hog("memory_many_processes", KILLED, EVERYWHERE),
    Hog("memory_dead_leader", KILLED),
    Hog("memory_thread_to_thread", KILLED),
    Hog("memory_handed_on", BOUNDED),
    # Sixteen chains: on a busy machine the look that counts came 75 MiB late (docs/threat-model.md).
    Hog("memory_handed_on_by_fork", KILLED, most=LIMIT + 128 * MIB),
    Hog("memory_copies", KILLED),
    Hog("memory_tmpfs", ("exited",), ("strict",)),  # level landlock: its work directory is on the host's disk
    Hog("memory_memfd", REFUSED),
    Hog("memory_sysv", REFUSED),
    Hog("memory_shared_mapping", REFUSED),
    Hog("memory_dev_zero", REFUSED),
    Hog("memory_pipes", BOUNDED, OWN_OR_NOT, ROOT),  # the kernel bounds those of others by pipe-user-pages-soft
    Hog("memory_named_pipes", BOUNDED, OWN_OR_NOT, ROOT),
    Hog("memory_unix_sockets", BOUNDED, EVERYWHERE),
    Hog("memory_tcp_sockets", BOUNDED, ("strict",)),  # level network: see docs/threat-model.md
    Hog("memory_page_tables", BOUNDED),
    Hog("memory_landlock_rules", BOUNDED),  # it goes on without them
]


@pytest.fixture(scope="module", params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with an_agent(request.param, memory_bytes=WORLD_BYTES) as agent:
        for level in EVERYWHERE:
            agent.run("sh", text=":", level=level)
        yield agent


@pytest.mark.parametrize("hog", HOGS, ids=lambda hog: hog.name)
def test_outside_it_takes_more(hog: Hog) -> None:
    with World(WORLD_BYTES) as world:
        assert world.memory is not None
        before = world.memory.forget()
        seen = plainly(world, f"{hog.name}.py", uid=hog.uid, limits={resource.RLIMIT_AS: 8 << 30})
        assert (seen.status, seen.stderr) == (0, "")
        assert world.memory.peak() - before > MOST


@pytest.mark.parametrize(
    ("hog", "level"), [pytest.param(hog, level, id=f"{hog.name}-{level}") for hog in HOGS for level in hog.levels]
)
def test_memory_has_a_limit(hog: Hog, level: str, agent: Agent) -> None:
    memory = agent.world.memory
    assert memory is not None
    before = memory.forget()
    running = agent.begin(f"{hog.name}.py", level=level, memory_bytes=LIMIT)
    bystander = agent.run("sh", text="echo fine", level=level)
    seen = agent.outcome(running)
    used = memory.peak() - before
    assert used <= hog.most, (used // MIB, seen)
    assert how(seen.kind, seen.stderr) in hog.ends, seen
    assert (bystander.kind, bystander.stdout) == ("exited", "fine\n")
    if hog.ends == KILLED:
        assert LIMIT < seen.max_rss_bytes <= hog.most
        assert "256 MiB" in seen.message
    assert_nothing_left(agent)


def how(kind: str, stderr: str) -> str:
    """How it ended: by a refusal, if it says so."""
    return "EPERM" if kind == "exited" and ("Errno 1]" in stderr or "Errno 13]" in stderr) else kind
