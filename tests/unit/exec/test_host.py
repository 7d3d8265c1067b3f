"""What is looked up on the node for a decision."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from lattice_agent.exec.host import (
    CONFINED_PLACES,
    count_uid_threads,
    find_confined_interpreters,
    find_interpreters,
    parse_status,
)
from lattice_agent.exec.local_policy import InterpreterRule, LevelRule, LocalPolicy
from lattice_agent.exec.plan import TASK_PATH, Level


def program(directory: Path, name: str, mode: int = 0o755) -> str:
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return str(path)


def test_sh_and_bash_have_fixed_paths_and_the_others_are_first_on_path(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    for name in ("sh", "bash", "node"):
        program(first, name)
    program(first, "python3", 0o644)
    python = program(second, "python3")
    found = find_interpreters(f"relative::{first}:{second}", LocalPolicy())
    assert found == {"sh": "/bin/sh", "bash": "/bin/bash", "node": str(first / "node"), "python3": python}


def test_policys_path_is_the_only_one_for_its_interpreter(tmp_path: Path) -> None:
    policy = LocalPolicy(
        interpreters={"sh": InterpreterRule(path="/bin/bash"), "node": InterpreterRule(path=str(tmp_path / "absent"))}
    )
    found = find_interpreters("/usr/bin", policy)
    assert found["sh"] == "/bin/bash"
    assert "node" not in found


# --- inside a cell ---------------------------------------------------------------------------------------------------

CELLS = {Level.STRICT, Level.NETWORK, Level.LANDLOCK}


def confined(
    place: Path, *, path: str | None = None, read_only: tuple[str, ...] = (), name: str = "node"
) -> str | None:
    """Where a cell of level strict that shows ``read_only`` as well has the interpreter."""
    rules = {name: InterpreterRule(path=path)} if path else {}
    policy = LocalPolicy(interpreters=rules, levels={Level.STRICT: LevelRule(read_only=read_only)})
    found = find_confined_interpreters(policy, [str(place)])
    assert set(found) == CELLS
    assert found[Level.NETWORK].get(name, "/bin/").startswith(("/usr/", "/bin/"))  # whose rule shows nothing more
    return found[Level.STRICT].get(name)


def test_cells_look_where_their_scripts_do_and_not_on_the_agents_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TASK_PATH.split(":")[: len(CONFINED_PLACES)] == list(CONFINED_PLACES)
    monkeypatch.setenv("PATH", "/nonexistent")
    for level, found in find_confined_interpreters(LocalPolicy()).items():
        assert level in CELLS
        assert found["sh"] == "/bin/sh"
        assert all(path.startswith(("/bin/", "/usr/")) for path in found.values())


def test_what_lies_outside_of_the_system_is_seen_only_if_its_level_shows_it(tmp_path: Path) -> None:
    node = program(tmp_path, "node")
    assert confined(tmp_path) is None
    assert confined(tmp_path, read_only=(str(tmp_path),)) == node
    assert confined(tmp_path, read_only=(str(tmp_path.parent),)) == node
    assert confined(tmp_path, read_only=(node,)) == node
    assert confined(tmp_path, read_only=(str(tmp_path) + "x",)) is None
    assert confined(tmp_path, read_only=(str(tmp_path)[:-1],)) is None


def test_policys_path_is_looked_at_the_same_way(tmp_path: Path) -> None:
    mine = program(tmp_path, "mine")
    assert confined(Path("/nonexistent"), path=mine) is None
    assert confined(Path("/nonexistent"), path=mine, read_only=(str(tmp_path),)) == mine
    assert confined(Path("/nonexistent"), path="/bin/sh") == "/bin/sh"
    assert confined(Path("/nonexistent"), path=program(tmp_path, "no", 0o644), read_only=(str(tmp_path),)) is None


def test_a_link_out_of_the_system_leads_nowhere_inside(tmp_path: Path) -> None:
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    shown.mkdir()
    hidden.mkdir()
    program(hidden, "real")
    (shown / "node").symlink_to(hidden / "real")
    assert confined(shown, read_only=(str(shown),)) is None
    assert confined(shown, read_only=(str(shown), str(hidden))) == str(shown / "node")


def test_a_link_from_elsewhere_is_replaced_by_where_it_leads(tmp_path: Path) -> None:
    """As for an alternative: the link is not in the cell, its end is."""
    (tmp_path / "node").symlink_to("/bin/sh")
    assert confined(tmp_path) == os.path.realpath("/bin/sh")


def test_a_program_keeps_the_name_it_is_called_by_if_every_link_is_seen(tmp_path: Path) -> None:
    """Virtual environments and busybox look at it."""
    (tmp_path / "node").symlink_to("step")
    (tmp_path / "step").symlink_to("/bin/sh")
    assert confined(tmp_path, read_only=(str(tmp_path),)) == str(tmp_path / "node")


def test_a_directory_that_is_a_link_counts_by_where_it_leads(tmp_path: Path) -> None:
    real = tmp_path / "v2"
    real.mkdir()
    program(real, "node")
    (tmp_path / "current").symlink_to(real)
    assert confined(tmp_path / "current", read_only=(str(real),)) == str(real / "node")
    assert confined(tmp_path / "current", read_only=(str(tmp_path / "current"),)) is None


def test_links_in_a_circle_are_no_interpreter(tmp_path: Path) -> None:
    (tmp_path / "node").symlink_to("node")
    assert confined(tmp_path, read_only=(str(tmp_path),)) is None


# --- threads of a uid ------------------------------------------------------------------------------------------------


def test_threads_of_a_uid_are_counted_from_the_status_of_each_process(tmp_path: Path) -> None:
    for pid, uid, threads in ((10, 1000, 3), (11, 0, 7), (12, 1000, 2)):
        directory = tmp_path / str(pid)
        directory.mkdir()
        status = f"Name:\tx: y\nUid:\t{uid}\t0\t0\t0\nThreads:\t{threads}\n"
        directory.joinpath("status").write_text(status)
    tmp_path.joinpath("13").mkdir()  # ended while we looked
    tmp_path.joinpath("self").mkdir()
    assert count_uid_threads(1000, tmp_path) == 5
    assert count_uid_threads(1000, tmp_path / "absent") is None


def test_the_real_proc_knows_our_threads_and_children() -> None:
    before = count_uid_threads(os.getuid())
    assert before is not None
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(40)]
    for thread in threads:
        thread.start()
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        during = count_uid_threads(os.getuid())
        child.kill()
    stop.set()
    for thread in threads:
        thread.join()
    assert during is not None
    assert during >= 41


@pytest.mark.parametrize("text", ["", "Uid:\t0 0 0 0\n"])
def test_a_status_without_its_fields_is_an_error_of_the_parser(text: str) -> None:
    with pytest.raises(KeyError):
        parse_status(text)
