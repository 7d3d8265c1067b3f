"""Weak point 13 with everything real: the node's token, seen from outside and from inside a task of the same user."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.real_processes import COMMAND, Site
from tests.rigs.steered_plane import Plane, control_plane
from tests.rigs.unprivileged import as_nobody

pytestmark = pytest.mark.slow

CLOSED = ("environ", "auxv", "maps", "smaps", "mem", "io", "fd", "cwd", "exe", "root")
LOOK = f"""
parent() {{ sed -n 's/^PPid:[^0-9]*//p' /proc/$1/status; }}
agent=$(parent $(parent $PPID))
echo "agent $agent runs as $(id -u)"
tr '\\0' ' ' < /proc/$agent/cmdline; echo
for name in {" ".join(CLOSED)}; do
    if [ -h /proc/$agent/$name ]; then reason=$(readlink -v /proc/$agent/$name 2>&1)
    elif [ -d /proc/$agent/$name ]; then reason=$(ls /proc/$agent/$name 2>&1)
    else reason=$(cat /proc/$agent/$name 2>&1); fi
    [ $? = 0 ] && echo "$name open" || echo "$name ${{reason##*: }}"
done
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="module")
def user() -> tuple[list[str | Path], int]:
    """What to put before a command so that it runs as an ordinary user, and the uid of that user."""
    if os.geteuid() != 0:
        return [], os.geteuid()
    return as_nobody(), pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def site(plane: Plane, user: tuple[list[str | Path], int]) -> Iterator[Site]:
    """In a directory that the agent's user can enter and write."""
    prefix, uid = user
    with tempfile.TemporaryDirectory(prefix="lattice-test-") as name:
        os.chown(name, uid, -1)
        yield Site(Path(name), plane.url, plane.add_node(), prefix=prefix)


@pytest.mark.long
@pytest.mark.parametrize("given", ["argv", "environ"])
def test_weak_point_13_the_token_is_in_no_process_that_a_task_can_look_into(
    plane: Plane, site: Site, user: tuple[list[str | Path], int], given: str
) -> None:
    gate = site.gate("end")
    task = plane.create(site.node, site.script(LOOK + gate.wait))
    words = [str(word) for word in site.command()]
    secret = words.index("--token-file")
    words[secret : secret + 2] = ["-token", site.node.token] if given == "argv" else []
    environment = {"LATTICE_NODE_TOKEN": site.node.token} if given == "environ" else {}
    with site.process([*site.prefix, COMMAND, *words], **environment) as agent:
        (start,) = site.wait_starts(1)
        visible = {pid: shown(pid) for pid in (agent.process.pid, agent.spawner, start.supervisor, start.pid)}
        gate.open()
        result = plane.result(task)
        assert agent.stop() == os.EX_OK
    assert [pid for pid, text in visible.items() if site.node.token in text] == []
    assert "lattice_agent" in visible[agent.process.pid]
    first, cmdline, *rest = result["stdout"].splitlines()
    assert first == f"agent {agent.process.pid} runs as {user[1]}"
    assert "lattice_agent" in cmdline  # it was the right process, and what is open in it was read
    assert site.node.token not in result["stdout"]
    assert rest == [f"{name} Permission denied" for name in CLOSED]
    assert site.node.token not in agent.log_text()


def shown(pid: int) -> str:
    """Arguments and environment; of the agent the environment can be seen by root alone."""
    names = ["cmdline"] + (["environ"] if os.geteuid() == 0 else [])
    return "".join(Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in names)
