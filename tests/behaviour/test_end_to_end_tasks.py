"""Tasks on their whole way: from the operator's order through a real agent to the stored result."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lattice_agent import __version__
from lattice_agent.exec.policy import AGENT_UPDATE_MARK, NOT_ALLOWLISTED, REPLACEMENT_REFUSED
from tests.rigs.real_processes import Site
from tests.rigs.steered_plane import SteeredPlane, control_plane

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteeredPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="module")
def site(plane: SteeredPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With an agent that runs through all of these tests."""
    made = Site(tmp_path_factory.mktemp("site"), plane.url, plane.add_node())
    with made.agent() as agent:
        yield made
        assert agent.stop() == os.EX_OK


@pytest.mark.parametrize(
    ("interpreter", "script"),
    [
        ("sh", "echo $((40 + 2))"),
        ("bash", "a=(40 2); echo $((a[0] + a[1]))"),
        ("python3", "print(40 + 2)"),
        pytest.param("node", "console.log(40 + 2)", marks=pytest.mark.needs_node),
    ],
)
def test_each_interpreter(plane: SteeredPlane, site: Site, interpreter: str, script: str) -> None:
    result = plane.result(plane.create(site.node, script, interpreter))
    assert (result["exit_code"], result["stdout"], result["stderr"], result["error"]) == (0, "42\n", "", "")


def test_trap_10_a_task_can_call_the_agent(plane: SteeredPlane, site: Site) -> None:
    """Through the variable, and by its name on PATH, as the control plane's firewall scripts do."""
    result = plane.result(plane.create(site.node, '"$LATTICE_AGENT_BIN" -version && lattice-agent -version'))
    assert (result["error"], result["stdout"]) == ("", f"{__version__}\n" * 2)


def test_a_script_that_would_replace_the_agent_is_refused(plane: SteeredPlane, site: Site) -> None:
    """By its text: the control plane's update script prints this before it downloads a Go program over our command."""
    before = len(site.starts())
    update = site.script(f'target=/usr/local/bin/lattice-agent; echo "{AGENT_UPDATE_MARK}$target"')
    result = plane.result(plane.create(site.node, update))
    assert (result["exit_code"], result["error"]) == (-1, REPLACEMENT_REFUSED)
    assert len(site.starts()) == before


def test_trap_09_failures_carry_their_text(plane: SteeredPlane, site: Site) -> None:
    """Whatever has an error text is a failure; the others are successes."""
    endings = {"exit 0": ("finished", ""), "exit 3": ("failed", "exit status 3")}
    endings["kill -9 $$"] = ("failed", "signal: killed")
    tasks = {script: plane.create(site.node, script) for script in endings}
    results = {script: plane.result(task) for script, task in tasks.items()}
    found = {script: (plane.task(task)["status"], results[script]["error"]) for script, task in tasks.items()}
    assert found == endings


@pytest.mark.long
def test_an_interpreter_that_nobody_knows(plane: SteeredPlane, tmp_path: Path) -> None:
    """The operators' API takes no such order; another control plane might."""
    site = Site(tmp_path, plane.url, plane.add_node())
    task = plane.create(site.node, site.script())
    with closing(sqlite3.connect(plane.database)) as database, database:
        database.execute("UPDATE task SET interpreter = 'perl' WHERE id = ?", (task,))
    with site.agent() as agent:
        result = plane.result(task)
        assert agent.stop() == os.EX_OK
    assert (result["exit_code"], result["error"]) == (-1, NOT_ALLOWLISTED)
    assert not site.starts()
