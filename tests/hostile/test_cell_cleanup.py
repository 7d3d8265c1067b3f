"""Work directories on the host's disk, after scripts that make them hard to remove. A tmpfs goes with the cell."""

import os
from dataclasses import dataclass

import pytest

from tests.hostile.cell_rig import PYTHON, Agent, eventually, plainly
from tests.hostile.places import Place
from tests.hostile.world import NOBODY, ROOT, World

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root, pytest.mark.needs_netns]

VICTIM = "/run/victim"
DISK = "/run/disk"
ON_DISK = {"strict": DISK, "network": DISK, "landlock": None, "host": None}
"""Level, and where its work directory is to be; None: where the agent makes it anyway."""


@dataclass(frozen=True)
class Mess:
    """A script of the corpus, and a way to clean up after it that does not work."""

    name: str
    naive: str
    """A program (python3 or sh) that is to empty its working directory."""
    uid: int = ROOT


FOLLOW = """
import os
for directory, names, files in os.walk(".", followlinks=True):
    for name in files:
        os.remove(os.path.join(directory, name))
    if directory.count("/") > 3:
        names.clear()
"""
REMOVE = "import os, shutil\nfor name in os.listdir(): shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)"
BY_WORDS = (
    "import os, subprocess\nfor name in subprocess.getoutput('ls').split(): os.path.isdir(name) or os.remove(name)"
)

MESSES = [
    Mess("links_out", FOLLOW),
    Mess("deep_tree", REMOVE),
    Mess("no_permissions", REMOVE, NOBODY),
    Mess("every_name", BY_WORDS),
]


def make_victim(world: World, uid: int) -> None:
    world.path(VICTIM).mkdir()
    world.path(f"{VICTIM}/file").write_text("precious")
    for path in (VICTIM, f"{VICTIM}/file"):
        os.chown(world.path(path), uid, uid)


def victim_lives(world: World) -> bool:
    path = world.path(f"{VICTIM}/file")
    return path.exists() and path.read_text() == "precious"


def prepared(agent: Agent) -> Agent:
    """With somebody else's files, and a directory of the agent's on disk."""
    if not agent.world.path(DISK).exists():
        make_victim(agent.world, agent.uid)
        agent.world.path(DISK).mkdir(mode=0o700)
        os.chown(agent.world.path(DISK), agent.uid, agent.uid)
    return agent


@pytest.mark.parametrize("mess", MESSES, ids=lambda mess: mess.name)
def test_outside_a_naive_removal_fails(mess: Mess) -> None:
    with World() as world:
        make_victim(world, mess.uid)
        seen = plainly(world, f"{mess.name}.py", uid=mess.uid, environment={"VICTIM": VICTIM})
        assert (seen.status, seen.stderr) == (0, "")
        (place,) = [name for name in os.listdir(world.path("/tmp")) if name.startswith("dir-")]
        cleaner = world.start([PYTHON, "-c", f"import os\nos.chdir('/tmp/{place}')\n{mess.naive}"], uid=mess.uid)
        failed = cleaner.wait() != 0
        assert failed or not victim_lives(world)


@pytest.mark.parametrize("mess", MESSES, ids=lambda mess: mess.name)
def test_the_work_directory_goes_and_nothing_else(mess: Mess, place: Place) -> None:
    agent = prepared(place.agent)
    seen = place.run(f"{mess.name}.py", work_disk=ON_DISK[place.level], environment={"VICTIM": VICTIM})
    assert (seen.kind, seen.exit_code, seen.stderr) == ("exited", 0, ""), seen
    eventually(lambda: os.listdir(agent.world.path(DISK)), [])
    eventually(lambda: [name for name in os.listdir(agent.world.path("/tmp")) if name.startswith("lattice-")], [])
    assert victim_lives(agent.world)
    place.verdict(mess.name, "removed, and nothing else")
