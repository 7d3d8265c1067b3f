"""``lattice-control`` follows, cancels and repeats what a real agent runs, against a server of its own."""

import json
import os
import select
import subprocess
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from server_stub.cli.text import visible_lines
from tests.rigs.hostile_output import CORPUS, MARKER
from tests.rigs.real_processes import RunningAgent, Site, reserved_port
from tests.rigs.steered_plane import Node
from tests.rigs.terminal import LIMIT_S, assert_only_text_and_colours, on_terminal
from tests.unit.server_stub_cli.plane import Plane, plane
from tests.unit.server_stub_cli.rig import PROGRAM


@dataclass(frozen=True)
class Rig:
    """A server, and a node ``n1`` whose agent runs."""

    plane: Plane
    site: Site
    agent: RunningAgent

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | self.plane.environment

    def control(self, *argv: str, script: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*PROGRAM, *argv], input=script, capture_output=True, text=True, timeout=LIMIT_S, env=self.environ
        )

    @contextmanager
    def following(self, script: str, *options: str) -> "Iterator[subprocess.Popen[str]]":
        with subprocess.Popen(
            [*PROGRAM, *self.run_words(script, *options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run_words(self, script: str, *options: str) -> Sequence[str]:
        file = self.site.place / "script"
        file.write_text(script)
        return ("task", "run", str(file), "--node=n1", "--interpreter=bash", "--follow", *options)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_in(tmp_path_factory.mktemp("rig")) as running:
        yield running


@contextmanager
def rig_in(folder: Path, listen: str = "127.0.0.1:0") -> Iterator[Rig]:
    with plane(folder, listen=listen) as server:
        added = subprocess.run(
            [*PROGRAM, "node", "add", "n1", "--tag", "web", "--json"],
            capture_output=True,
            env=os.environ | server.environment,
            timeout=LIMIT_S,
            check=True,
        )
        site = Site(folder, server.url, Node("n1", json.loads(added.stdout)["token"]))
        with site.agent() as agent:
            agent.wait_log('"ready"')
            yield Rig(server, site, agent)


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], LIMIT_S)
    assert readable, "nothing came"
    return process.stdout.readline()


@pytest.mark.long
def test_output_is_there_before_its_script_ends(rig: Rig) -> None:
    gate = rig.site.gate("live")
    with rig.following(f"echo first; echo aside >&2; {gate.wait}; printf second; exit 3", "--timeout=60s") as process:
        assert line_of(process) == "first\n"
        gate.open()
        out, err = process.communicate(timeout=LIMIT_S)

    assert (process.returncode, out) == (1, "second\n")
    assert err.splitlines()[1:-1] == ["aside"]
    assert " on n1: failed: exit code 3, took " in err.splitlines()[-1]


@pytest.mark.long
def test_hostile_output_of_a_real_run_on_a_real_terminal(rig: Rig) -> None:
    output = b"\n".join(CORPUS.values())
    packed = b64encode(zlib.compress(output, 9)).decode()
    program = f"import base64, os, zlib; os.write(1, zlib.decompress(base64.b64decode('{packed}')))"
    script = f'exec python3 -c "{program}"'
    words = [*PROGRAM, *rig.run_words(script, "--output-limit=262144")]

    with on_terminal(words, rig.environ) as terminal:
        code = terminal.end()

    shown = assert_only_text_and_colours(bytes(terminal.screen))
    assert code == 0, shown[-500:]
    assert shown.count(MARKER) == len(CORPUS)
    plain = rig.control("task", "output", task_of(shown))
    assert plain.stdout == visible_lines(output.decode("utf-8", "replace"))


@pytest.mark.long
def test_what_was_printed_is_the_result_through_a_restart_of_the_server(tmp_path: Path) -> None:
    with reserved_port() as port:
        address = f"127.0.0.1:{port}"
        with rig_in(tmp_path, address) as rig:
            gate = rig.site.gate("restart")
            script = f"echo before; {gate.wait}; for n in $(seq 2000); do echo line $n; done"
            with rig.following(script, "--timeout=120s") as process:
                assert line_of(process) == "before\n"
                rig.plane.running.process.kill()
                rig.plane.running.wait()
                gate.open()
                with plane(tmp_path, listen=address):
                    out, err = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 0, err
    assert out == "".join(f"line {n}\n" for n in range(1, 2001))


@pytest.mark.long
def test_a_running_task_is_cancelled_and_what_was_killed_is_said(rig: Rig) -> None:
    with rig.following("sleep 300 & echo up; wait", "--timeout=300s") as process:
        assert line_of(process) == "up\n"
        assert process.stderr is not None
        task = task_of(process.stderr.readline())
        start = time.monotonic()
        cancelled = rig.control("task", "cancel", task, "--wait")
        took = time.monotonic() - start
        _, err = process.communicate(timeout=LIMIT_S)

    assert (cancelled.returncode, process.returncode) == (0, 1)
    assert cancelled.stdout.startswith("n1: cancelled by admin after ")
    assert " on n1: cancelled by admin after " in err
    assert took < 30
    shown = rig.control("task", "show", task).stdout
    assert "outcomes     1 cancelled" in shown
    assert "cancel asked" in shown
    assert "wall " in shown
    again = rig.control("task", "cancel", task)
    assert again.returncode == os.EX_DATAERR


@pytest.mark.long
def test_a_task_by_tag_is_repeated_where_it_failed(rig: Rig) -> None:
    run = ("task", "run", "-", "--tag", "web", "--interpreter", "bash", "--follow")
    failed = rig.control(*run, script="exit 4")
    task = task_of(failed.stderr)

    again = rig.control("task", "rerun", task, "--failed", "--follow")

    assert (failed.returncode, again.returncode) == (1, 1)
    assert f"again        the script of {task}" in rig.control("task", "show", task_of(again.stderr)).stdout
    succeeded = rig.control(*run, script="echo fine")
    assert (succeeded.returncode, succeeded.stdout) == (0, "fine\n")
    refused = rig.control("task", "rerun", task_of(succeeded.stderr), "--failed")
    assert refused.returncode == os.EX_DATAERR


@pytest.mark.long
def test_the_node_is_shown_previewed_drained_and_found(rig: Rig) -> None:
    shown = rig.control("node", "show", "n1").stdout
    assert "tags            web" in shown
    assert "control stream  up" in shown
    preview = rig.control("task", "preview", "-", "--tag=web", "--interpreter=bash", script="true")
    assert preview.returncode == 0, preview
    assert preview.stdout.splitlines()[1].split()[:2] in (["n1", "runs"], ["n1", "unknown"])
    assert rig.control("node", "drain", "n1").returncode == 0
    try:
        assert "online, draining" in rig.control("node", "list", "--tag=web").stdout
    finally:
        assert rig.control("node", "undrain", "n1").returncode == 0
    assert "node.drain" in rig.control("audit", "--search", "DRAIN").stdout


@pytest.mark.long
def test_an_operator_is_added_gets_a_password_and_is_revoked(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse battery\n")

    assert rig.control("operator", "add", "ada").stdout.startswith("operator ada is added; the token is shown only now")
    assert rig.control("operator", "password", "ada", "--password-file", str(file)).returncode == 0
    assert rig.control("operator", "revoke", "ada").returncode == 0
    assert [line.split()[:2] for line in rig.control("operator", "list").stdout.splitlines()[1:]] == [
        ["ada", "revoked"],
        ["admin", "accepted"],
    ]


def task_of(said: str) -> str:
    return next(word for word in said.split() if word.startswith("task_"))
