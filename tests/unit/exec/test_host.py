"""What is looked up on the node for a decision."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from lattice_agent.exec.host import count_uid_threads, find_interpreters, parse_status
from lattice_agent.exec.policy import InterpreterRule, LocalPolicy


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
