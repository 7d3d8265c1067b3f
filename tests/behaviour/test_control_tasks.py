"""An operator's script travels: ``lattice-control`` against its own server, with an agent spoken by hand."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server_stub.cli import api
from server_stub.cli.connection import Connection
from server_stub.cli.resume import task_states
from tests.unit.server_stub_cli.plane import Agent, Plane, plane
from tests.unit.server_stub_cli.rig import HOSTILE, PROGRAM, Control, assert_harmless

OUTER_LIMIT_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def control(server: Plane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Control:
    return Control(monkeypatch, capsys, server.url, server.token)


@pytest.fixture
def agent(server: Plane, control: Control, request: pytest.FixtureRequest) -> Agent:
    """A node of this test's own."""
    return enrolled(server, control, re.sub(r"\W", "-", request.node.name)[:60])


def enrolled(server: Plane, control: Control, node: str) -> Agent:
    return Agent(server.url, node, control("node", "add", node, "--json").document["token"])


class Following:
    """A ``task run --follow`` in a process of its own that has said which task it waits for."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stderr is not None
        said = process.stderr.readline()
        match = re.fullmatch(r"task (\S+) is queued; interrupting the wait does not stop it\n", said)
        assert match is not None, said
        self.task = match[1]

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=OUTER_LIMIT_S)
        return self._process.returncode, out, err


@contextmanager
def following(server: Plane, folder: Path, *nodes: str) -> Iterator[Following]:
    script = folder / "script"
    script.write_text("echo hello\n")
    options = [f"--node={node}" for node in nodes]
    run = ("task", "run", *options, "--interpreter=bash", "--timeout=1m30s", str(script))
    with following_run(server, *run) as follow:
        yield follow


@contextmanager
def following_run(server: Plane, *run: str) -> Iterator[Following]:
    process = subprocess.Popen(
        [*PROGRAM, *run, "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | server.environment,
    )
    with process:
        try:
            yield Following(process)
        finally:
            process.kill()


def test_a_script_travels_to_a_node_and_its_output_comes_back(
    server: Plane, control: Control, agent: Agent, tmp_path: Path
) -> None:
    with following(server, tmp_path, agent.node) as follow:
        [task] = agent.poll()
        agent.report(task, stdout="hello\n", stderr="warn\n")
        code, out, err = follow.end()

    assert (task["id"], task["interpreter"], task["script"]) == (follow.task, "bash", "echo hello\n")
    assert (task["timeout_sec"], task["output_limit"]) == (90, 65_536)
    assert (code, out) == (0, "hello\n")
    assert err.splitlines() == ["warn", f"task {follow.task} on {agent.node}: succeeded, took 1.50 s"]

    shown = control("task", "show", follow.task).out
    assert "status       finished" in shown
    assert "asked by     admin" in shown
    assert "   hello\n" in shown
    assert follow.task in control("task", "list", "--node", agent.node, "--status", "finished").out
    audit = control("audit", "--node", agent.node, "--json").document["events"]
    assert [event["action"] for event in audit] == ["task.result", "task.lease", "task.create", "node.add"]


@pytest.mark.long
def test_what_a_script_prints_cannot_act_on_the_terminal(
    server: Plane, control: Control, agent: Agent, tmp_path: Path
) -> None:
    with following(server, tmp_path, agent.node) as follow:
        [task] = agent.poll()
        agent.report(task, stdout=HOSTILE, stderr=HOSTILE, error=HOSTILE, exit_code=3)
        code, out, err = follow.end()

    assert code == 1
    assert_harmless(out + err)
    assert "\\x1b[2J" in out
    assert f"task {follow.task} on {agent.node}: failed: ]0;owned" in err
    assert_harmless(control("task", "show", follow.task).out)
    exact = control("task", "show", follow.task, "--json")
    assert exact.document["task"]["results"][0]["stdout"] == HOSTILE
    assert_harmless(exact.out)


@pytest.mark.long
def test_several_nodes_end_when_the_last_has_reported(
    server: Plane, control: Control, agent: Agent, tmp_path: Path
) -> None:
    other = enrolled(server, control, f"{agent.node}-2")
    with following(server, tmp_path, agent.node, other.node) as follow:
        agent.report(agent.poll()[0], stdout="one\n")
        other.report(other.poll()[0], stdout="two\n", exit_code=1)
        code, out, err = follow.end()

    assert code == 1
    assert err.splitlines()[-1] == f"task {follow.task} failed: 1 succeeded, 1 failed"
    assert out.splitlines() == [
        *(f"== {agent.node}: succeeded, took 1.50 s", "-- stdout", "   one"),
        *(f"== {other.node}: failed: exit code 1, took 1.50 s", "-- stdout", "   two"),
    ]


@pytest.mark.long
def test_a_failure_limit_stops_the_rest(server: Plane, control: Control, agent: Agent, tmp_path: Path) -> None:
    fleet = [agent, *(enrolled(server, control, f"limit-{number}") for number in range(3))]
    for member in fleet:
        control("node", "tag", member.node, "limit")
    script = tmp_path / "script"
    script.write_text("exit 1\n")
    run = ("task", "run", str(script), "--tag=limit", "--interpreter=sh", "--concurrency=1", "--max-failures=1")
    with following_run(server, *run) as follow:
        [(member, task)] = [(member, task) for member in fleet for task in member.poll()]
        member.report(task, exit_code=1)
        code, out, err = follow.end()

    assert code == 1
    assert f"== {member.node}: failed: exit code 1, took 1.50 s" in out.splitlines()
    assert sum(line.endswith("stopped after 1 failure") for line in out.splitlines()) == 3
    assert err.splitlines()[-1].startswith(f"task {follow.task} ")
    assert ": 3 cancelled, 1 failed" in err.splitlines()[-1]


@pytest.mark.long
def test_an_interrupted_wait_leaves_the_task_which_can_then_be_cancelled(
    server: Plane, control: Control, agent: Agent, tmp_path: Path
) -> None:
    with following(server, tmp_path, agent.node) as follow:
        follow.interrupt()
        code, out, err = follow.end()

    assert (code, out) == (130, "")
    assert err.splitlines() == [
        f"task {follow.task} goes on; see it with lattice-control task show {follow.task}",
        f"to end it: lattice-control task cancel {follow.task}",
        "lattice-control: interrupted",
    ]

    assert control("task", "show", follow.task, "--json").document["task"]["status"] == "queued"
    assert control("task", "cancel", follow.task).out == f"task {follow.task} is cancelled\n"
    assert agent.poll() == []
    again = control("task", "cancel", follow.task)
    assert again.code == os.EX_DATAERR
    assert "only what has not ended can be cancelled" in again.err


def test_a_cancelled_task_ends_the_wait(server: Plane, control: Control, agent: Agent, tmp_path: Path) -> None:
    with following(server, tmp_path, agent.node) as follow:
        control("task", "cancel", follow.task)
        code, out, err = follow.end()

    assert (code, out) == (1, "")
    assert err == f"task {follow.task} on {agent.node}: cancelled by admin before it was handed out\n"


@pytest.mark.long
def test_following_survives_a_kill_and_restart_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with plane(tmp_path) as first:
        control = Control(monkeypatch, capsys, first.url, first.token)
        agent = enrolled(first, control, "n1")
        with following(first, tmp_path, "n1") as follow:
            first.running.process.kill()
            first.running.wait()
            with plane(tmp_path, listen=first.url.removeprefix("http://")):
                agent.report(agent.poll()[0], stdout="after all\n")
                code, out, _ = follow.end()

    assert (code, out) == (0, "after all\n")


@pytest.mark.long
def test_a_server_that_falls_silent_is_asked_again_from_where_it_was(
    server: Plane, control: Control, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SILENCE_S", 0.5)
    run = ("task", "run", "-", "--node", agent.node, "--interpreter", "sh", "--json")
    task = control(*run, stdin=b"true").document["task"]["id"]
    told: list[str] = []

    def wake(line: str) -> None:
        told.append(line)
        server.running.process.send_signal(signal.SIGCONT)
        agent.report(agent.poll()[0])

    try:
        with api.OperatorApi(Connection(server.url, server.token)) as operator:
            states = task_states(operator, task, wake)
            first = next(states)
            server.running.process.send_signal(signal.SIGSTOP)
            *_, last = states
    finally:
        server.running.process.send_signal(signal.SIGCONT)

    assert (first.status, last.status) == ("queued", "finished")
    assert len(told) == 1
    assert "trying again" in told[0]


def test_refusals_of_the_real_server_are_one_line(control: Control, agent: Agent) -> None:
    run = ("task", "run", "-", "--interpreter", "sh", "--node")
    for argv, code, text in (
        ((*run, "nobody"), os.EX_DATAERR, "node nobody not found"),
        (("task", "show", "task_x"), os.EX_DATAERR, "task task_x not found"),
        (("node", "show", "nobody"), os.EX_DATAERR, "node nobody not found"),
        (("node", "add", agent.node), os.EX_DATAERR, f"node {agent.node} exists"),
        (("node", "add", "no spaces"), os.EX_USAGE, "'no spaces' is not an id"),
    ):
        ran = control(*argv, stdin=b"true")
        assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran
        assert text in ran.err


def test_the_kill_switch_stops_creating_and_leasing(control: Control, agent: Agent) -> None:
    run = ("task", "run", "-", "--interpreter", "sh", "--node", agent.node)
    control(*run, stdin=b"true")
    try:
        assert control("kill-switch", "on").code == 0
        refused = control(*run, stdin=b"true")
        assert agent.poll() == []
    finally:
        control("kill-switch", "off")

    assert refused.code == os.EX_DATAERR
    assert "lattice-control kill-switch off" in refused.err
    assert len(agent.poll()) == 1
    assert "is off" in control("kill-switch", "show").out


def test_rotating_and_disabling_a_node_take_effect_at_once(server: Plane, control: Control, agent: Agent) -> None:
    assert agent.hello().status_code == 200
    renewed = Agent(server.url, agent.node, control("node", "rotate", agent.node, "--json").document["token"])

    assert [agent.hello().status_code, renewed.hello().status_code] == [401, 200]
    control("node", "disable", agent.node)
    assert renewed.hello().status_code == 401
    assert re.search(rf"{agent.node} .*disabled", control("node", "list").out)
    control("node", "enable", agent.node)
    assert renewed.hello().status_code == 200
    assert re.search(rf"{agent.node} .*online", control("node", "list").out)


def test_a_node_shows_what_its_agent_reported(control: Control, agent: Agent) -> None:
    agent.hello()

    shown = control("node", "show", agent.node).out

    assert re.search(r"^agent +9\.9$", shown, re.MULTILINE)
    assert re.search(r"^  memory_total +1\.0 GiB$", shown, re.MULTILINE)
