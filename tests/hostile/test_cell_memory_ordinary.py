"""The other side of the memory watch: ordinary programs that look like hogs from outside, and are let alone."""

from collections.abc import Iterator

import pytest

from tests.hostile.cell_rig import Agent, an_agent
from tests.hostile.world import AGENTS, MIB

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

LIMIT = 256 * MIB
LEVELS = ("strict", "network", "landlock")

DATA_AND_FORKS = """
import os
held = b'x' * (100 << 20)
wait, end = os.pipe()
for _ in range(20):
    if os.fork() == 0:
        os.close(end)
        os.read(wait, 1)
        os._exit(0)
for number in range(3_000_000):
    pass
os.close(end)
for _ in range(20):
    os.wait()
"""
A_FORK_FOR_EACH_REQUEST = """
import os
held = b'x' * (100 << 20)
for turn in range(25):
    for _ in range(4):
        if os.fork() == 0:
            answer = b'y' * (1 << 20)
            os._exit(0)
    for _ in range(4):
        assert os.wait()[1] == 0
"""
DATA_AND_COMMANDS = """
import subprocess
held = b'x' * (150 << 20)
for _ in range(100):
    subprocess.run(['/bin/true'], check=True)
"""
OPEN_FILES = """
import os
held = b'x' * (150 << 20)
files = [open('/etc/passwd') for _ in range(200)]
wait, end = os.pipe()
for _ in range(6):
    if os.fork() == 0:
        os.close(end)
        os.read(wait, 1)
        os._exit(0)
for number in range(1_000_000):
    pass
os.close(end)
for _ in range(6):
    assert os.wait()[1] == 0
"""
WORKERS_WITH_PIPES = """
import multiprocessing

def work(pipe):
    for number in iter(pipe.recv, None):
        pipe.send(sum(range(number)))

context = multiprocessing.get_context('fork')
held = b'x' * (60 << 20)
workers = []
for _ in range(12):
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,))
    process.start()
    workers.append((ours, process))
for turn in range(200):
    for pipe, _ in workers:
        pipe.send(turn)
    for pipe, _ in workers:
        assert pipe.recv() == sum(range(turn))
for pipe, process in workers:
    pipe.send(None)
    process.join()
    assert process.exitcode == 0
"""
PIPELINE = """
seq 200000 | sort -n | uniq | sed 's/7/x/' | grep -v x | tr 0-9 a-j | tail -n 5 | wc -l | tr -d ' \\n' > counted
test "$(cat counted)" = 5
for number in 1 2 3 4 5 6 7 8 9 10; do
    seq 1000 | head -n $number | cat | cat | cat > /dev/null || exit 1
done
"""
PROGRAMS = {
    "data-and-forks": ("python3", DATA_AND_FORKS),
    "a-fork-for-each-request": ("python3", A_FORK_FOR_EACH_REQUEST),
    "data-and-commands": ("python3", DATA_AND_COMMANDS),
    "open-files": ("python3", OPEN_FILES),
    "workers-with-pipes": ("python3", WORKERS_WITH_PIPES),
    "pipeline": ("sh", PIPELINE),
}
PRIORITY = """
import os
own = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
init = os.getpriority(os.PRIO_PROCESS, 1)
print(*own, init)
"""


@pytest.fixture(scope="module", params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with an_agent(request.param, memory_bytes=1024 * MIB) as agent:
        yield agent


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_let_alone(program: str, level: str, agent: Agent) -> None:
    interpreter, text = PROGRAMS[program]
    seen = agent.run(interpreter, text=text, level=level, memory_bytes=LIMIT)
    assert (seen.kind, seen.exit_code, seen.stderr) == ("exited", 0, ""), seen


def test_small_limits_are_enough_for_small_programs(agent: Agent) -> None:
    seen = agent.run("sh", text=PIPELINE, memory_bytes=32 * MIB)
    assert (seen.kind, seen.exit_code) == ("exited", 0), seen


def test_a_cell_that_is_built_while_others_are_watched_has_an_ordinary_priority(agent: Agent) -> None:
    busy = agent.begin("python3", text="import time\ntime.sleep(1.5)", memory_bytes=LIMIT)
    for _ in range(4):  # more than are kept ready
        seen = agent.run("python3", text=PRIORITY, memory_bytes=LIMIT)
        assert (seen.stdout, seen.stderr) == ("0 0 0\n", "")
    assert agent.outcome(busy).kind == "exited"
