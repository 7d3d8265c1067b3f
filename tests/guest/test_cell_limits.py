"""Whole cells under the controllers: the limits of a task hold for everything in its cell together."""

from collections.abc import Iterator

import pytest
import trio

from lattice_agent.exec import Kind, Level, Limits, Profile, SandboxClient
from lattice_agent.exec.launch import start_spawner
from lattice_agent.exec.probe import probe_host
from lattice_agent.exec.runner import open_runner

from .conftest import Taken

MIB = 1 << 20
LIMIT = 48 * MIB
MEMFD = """
import os
held = []
for number in range(40):
    fd = os.memfd_create("x")
    os.write(fd, bytes(4 << 20))
    held.append(fd)
print("filled", flush=True)
"""
CHILDREN = """
import os, time
made = 0
try:
    for _ in range(40):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError as error:
    print("refused", error.errno, flush=True)
print("made", made, flush=True)
"""


def limits(*, memory_bytes: int = 512 * MIB, processes: int = 64) -> Limits:
    """Generous clocks: the guest is emulated."""
    return Limits(wall_s=60, output_bytes=65_536, cpu_s=60, processes=processes, memory_bytes=memory_bytes)


@pytest.fixture(scope="module")
def client(taken: Taken) -> Iterator[SandboxClient]:
    """Cells below the unit's group, which this process has taken into use already."""
    assert taken.groups.controllers == {"memory", "pids", "cpu"}
    with SandboxClient(Profile(Level.STRICT)) as client:
        yield client


def test_memory_that_nobody_maps_is_counted(client: SandboxClient) -> None:
    free = client.run(MEMFD, interpreter="python3", limits=limits())
    assert (free.kind, free.stdout.kept) == (Kind.EXITED, b"filled\n"), free
    held = client.run(MEMFD, interpreter="python3", limits=limits(memory_bytes=LIMIT))
    assert held.kind is Kind.MEMORY_LIMIT, held
    assert b"filled" not in held.stdout.kept
    assert LIMIT // 2 < held.max_rss_bytes <= LIMIT + MIB


def test_processes_of_a_cell_are_counted_together(client: SandboxClient) -> None:
    free = client.run(CHILDREN, interpreter="python3", limits=limits())
    assert b"made 40" in free.stdout.kept, free
    held = client.run(CHILDREN, interpreter="python3", limits=limits(processes=10))
    assert b"refused 11" in held.stdout.kept, held


def test_the_probe_tells_of_the_controllers(taken: Taken) -> None:
    assert taken.groups.controllers

    async def probe() -> tuple[str, ...]:
        async with open_runner(start_spawner()) as runner:
            found = await probe_host(runner)
        assert found.controllers == {"memory", "pids", "cpu"}
        assert Level.STRICT in found.reached, found.results[Level.STRICT].because
        return found.features(Level.STRICT)

    features = trio.run(probe)
    assert "cgroup-v2-memory-max" in features
    assert "memory-watch" not in features
