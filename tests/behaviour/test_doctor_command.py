"""``lattice-agent doctor`` on hosts of several kinds: what it says, and its exit code."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lattice_agent.exec
from tests.hostile.world import REPOSITORY, World

OUTER_S = 60
NOBODY = 65534
PATH = "/usr/local/bin:/usr/bin:/bin"
COMMAND = [sys.executable, "-m", "lattice_agent", "doctor"]
CELL_PROGRAM = Path(lattice_agent.exec.__file__).parent / "native" / "cell"
WITHOUT_NAMESPACES = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_netns]


@pytest.fixture
def world() -> Iterator[World]:
    """A host that a test may change."""
    with World() as made:
        yield made


def examined(world: World, *words: str, uid: int = 0, prefix: list[str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the doctor in a world."""
    process = world.start(
        [*(prefix or []), *COMMAND, *words],
        uid=uid,
        environment={"PATH": PATH, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=OUTER_S)
    return process.returncode, out.decode(), err.decode()


def told(world: World, *, uid: int = 0, prefix: list[str] | None = None) -> dict[str, Any]:
    """What ``--json`` prints; rows by their check."""
    code, out, err = examined(world, "--json", uid=uid, prefix=prefix)
    assert err == ""
    report: dict[str, Any] = json.loads(out)
    assert report["exit_code"] == code
    report["rows"] = {row["check"]: row for row in report["findings"]}
    return report


def test_for_root_strict_is_reached(world: World) -> None:
    report = told(world)
    assert report["reached"] == ["strict", "network", "landlock", "host"]
    assert (report["highest"], report["tasks_run_at"]) == ("strict", "strict")
    assert {row["state"] for row in report["rows"].values()} <= {"ok", "note", "degraded"}
    # No cgroup is delegated to this process; were one, nothing would be weaker.
    degraded = {check for check, row in report["rows"].items() if row["state"] == "degraded"}
    assert degraded == {"memory controller"}
    assert report["exit_code"] == 1
    assert "dangerous calls refused" in report["rows"]


def test_for_an_ordinary_user_it_says_what_is_weaker(world: World) -> None:
    report = told(world, uid=NOBODY)
    assert (report["uid"], report["highest"], report["tasks_run_at"]) == (NOBODY, "strict", "strict")
    assert report["exit_code"] == 1
    row = report["rows"]["unique uid"]
    assert row["state"] == "degraded"
    assert (
        row["seen"] == f"level strict: scripts have the agent's uid {NOBODY} (/etc/subuid: has no line for this user)"
    )
    assert "usermod --add-subuids" in row["fix"]
    strict = next(level for level in report["levels"] if level["level"] == "strict")
    assert {"shared-host-uid", "user-namespace"} <= set(strict["features"])


def test_where_proc_is_masked_it_names_the_mask_and_the_way_out(world: World) -> None:
    """A container that covers parts of /proc, seen by an ordinary user."""
    assert world.start(["mount", "-t", "tmpfs", "tmpfs", "/proc/tty"]).wait(OUTER_S) == 0
    report = told(world, uid=NOBODY)
    assert (report["highest"], report["exit_code"], report["tasks_run_at"]) == ("landlock", 1, None)
    row = report["rows"]["level strict"]
    assert row["state"] == "missing"
    assert "/proc/tty" in row["fix"]
    assert "min_level be landlock" in row["fix"]


def test_without_user_namespaces_it_names_the_setting(world: World) -> None:
    world.path("/proc/sys/user/max_user_namespaces").read_text()
    script = 'unshare --user --map-root-user sh -c \'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"\' sh "$@"'
    report = told(world, uid=NOBODY, prefix=["sh", "-c", script, "sh", *WITHOUT_NAMESPACES, "--"])
    assert "strict" not in report["reached"]
    assert "user.max_user_namespaces" in report["rows"]["level strict"]["fix"]


@pytest.mark.long
def test_root_without_the_right_to_namespaces(world: World) -> None:
    report = told(world, prefix=WITHOUT_NAMESPACES)
    assert (report["highest"], report["exit_code"]) == ("landlock", 1)
    assert report["rows"]["level strict"]["seen"] == "not reached: mount-namespace: Operation not permitted (unshare)"
    assert "CAP_SYS_ADMIN" in report["rows"]["level strict"]["fix"]


@pytest.mark.long
def test_without_its_program_no_level_isolates(world: World) -> None:
    """An installation without the compiled part: /dev/null in its place, which cannot be executed."""
    assert world.start(["mount", "--bind", "/dev/null", str(CELL_PROGRAM)]).wait(OUTER_S) == 0
    report = told(world)
    assert (report["reached"], report["highest"], report["exit_code"]) == (["host"], "host", 2)
    assert report["rows"]["cell program"]["state"] == "missing"
    assert report["tasks_run_at"] is None
    code, out, err = examined(world)
    assert (code, err) == (2, "")
    assert "The highest level reached as uid 0 is host." in out
    assert "-allow-exec=true alone runs no task: refusing to execute task as root" in out


@pytest.mark.long
def test_the_table_is_for_humans(world: World) -> None:
    code, out, err = examined(world)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("ok        level strict ")
    assert max(map(len, lines)) <= 110
    assert any(line.startswith("degraded  memory controller") for line in lines)
    assert any(line.strip().startswith("means: ") for line in lines)
    assert any(line.strip().startswith("fix: ") for line in lines)
    assert lines[-2:] == [
        "The highest level reached as uid 0 is strict.",
        "-allow-exec=true alone runs tasks at strict (the strongest level).",
    ]


@pytest.mark.long
def test_nobody_has_to_read_it_to_the_end(world: World) -> None:
    code, out, err = examined(world, prefix=["sh", "-c", '"$@" | head -n 1', "sh"])
    assert (code, err) == (0, "")
    assert out.startswith("ok ")


@pytest.mark.long
def test_a_call_that_makes_no_sense(world: World) -> None:
    for word in ("--nonsense", "file"):
        code, out, err = examined(world, word)
        assert (code, out) == (2, "")
        assert word.strip("-") in err
        assert err.count("\n") == 1
    code, out, err = examined(world, "-h")
    assert (code, out) == (0, "")
    assert "exit code: 0" in err


def test_an_interrupted_doctor_leaves_nothing(world: World) -> None:
    process = world.start(
        COMMAND,
        environment={"PATH": PATH, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not any("lattice_agent.exec.spawner" in found.arguments for found in world.processes()):
        assert process.poll() is None
    doctor = next(found.pid for found in world.processes() if "doctor" in found.arguments)
    assert world.start(["kill", "-INT", str(doctor)]).wait(OUTER_S) == 0
    _, err = process.communicate(timeout=OUTER_S)
    assert process.returncode in (130, 128 + signal.SIGINT)
    assert b"Traceback" not in err
    assert world.processes() == []
