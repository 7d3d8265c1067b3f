"""Plans for programs that use the package as a library."""

import os

import pytest

from lattice_agent.errors import SandboxError
from lattice_agent.exec import library
from lattice_agent.exec.library import DEFAULT_LIMITS, DEFAULT_PROFILE, interpreter_inside, plan_for
from lattice_agent.exec.plan import TASK_PATH, Level, Limits, Profile


def test_a_plan_with_nothing_but_a_script() -> None:
    plan = plan_for("echo ü\n")
    assert plan.script == "echo ü\n".encode()
    assert (plan.interpreter, plan.interpreter_path) == ("sh", "/bin/sh")
    assert (plan.level, plan.profile, plan.limits) == (Level.STRICT, DEFAULT_PROFILE, DEFAULT_LIMITS)
    assert dict(plan.environment_in("/d")) == {
        "PATH": TASK_PATH,
        "HOME": "/d",
        "TMPDIR": "/d",
        "XDG_RUNTIME_DIR": "/d",
    }


def test_a_plan_with_everything() -> None:
    limits = Limits(wall_s=1.0, output_bytes=2, cpu_s=3, processes=4)
    profile = Profile(Level.NETWORK, read_only=("/opt",))
    plan = plan_for(b"\xff", profile, "python3", limits, {"A": "b=c", "EMPTY": ""})
    assert plan.script == b"\xff"
    assert (plan.level, plan.profile, plan.limits) == (Level.NETWORK, profile, limits)
    assert dict(plan.environment_in("/d")).items() >= {"A": "b=c", "EMPTY": "", "PATH": TASK_PATH}.items()


def test_the_defaults_bound_everything() -> None:
    assert Profile(Level.STRICT) == DEFAULT_PROFILE
    assert (DEFAULT_LIMITS.wall_s, DEFAULT_LIMITS.output_bytes, DEFAULT_LIMITS.memory_bytes) == (
        30.0,
        65_536,
        512 << 20,
    )
    assert DEFAULT_LIMITS.cpu_s > DEFAULT_LIMITS.wall_s


@pytest.mark.parametrize("name", ["PATH", "HOME", "TMPDIR"])
def test_no_variable_is_there_twice(name: str) -> None:
    """Interpreters differ in which of two they take; so who wins must be decided here."""
    names = [each for each, _ in plan_for("echo", environment={name: "/mine"}).environment_in("/d")]
    assert names.count(name) == 1


@pytest.mark.parametrize("name", ["", "A=B", "=A"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SandboxError) as caught:
        plan_for("echo", environment={name: "x"})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["sh", "bash", "python3"])
def test_interpreters_are_found_where_cells_have_them(name: str) -> None:
    path = interpreter_inside(name)
    assert os.access(path, os.X_OK)
    assert path.startswith(("/bin/", "/usr/"))


@pytest.mark.parametrize("name", ["perl", "", "SH", "/bin/sh", "../sh"])
def test_what_is_no_interpreter_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(SandboxError, match="unknown interpreter") as caught:
        interpreter_inside(name)
    assert repr(name) in str(caught.value)
    assert caught.value.hint() == "use one of sh, bash, python3, node"


def test_an_interpreter_that_is_not_installed_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "TASK_PATH", "/nowhere:/nowhere/else")
    with pytest.raises(SandboxError, match="node is not in /nowhere:/nowhere/else") as caught:
        interpreter_inside("node")
    assert "install node" in caught.value.hint()


def test_an_interpreter_of_this_user_alone_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH of the caller means nothing: a cell sees the host's system directories only."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert interpreter_inside("python3").startswith("/usr/")
