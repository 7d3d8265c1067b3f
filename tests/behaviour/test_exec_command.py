"""``lattice-agent exec`` as a user of it sees it: output, exit codes, limits, interruption, and what --explain says."""

import base64
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lattice_agent.exec.outcome import Kind, Outcome
from lattice_agent.exec.plan import Level
from tests.hostile.world import AGENTS, REPOSITORY, World
from tests.rigs.extent import mostly_long

OUTER_S = 40
CELLS = ["strict", "network", "landlock"]
LEVELS = [*CELLS, "host"]
COMMAND = [sys.executable, "-m", "lattice_agent", "exec"]
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "LATTICE_NODE_TOKEN": "hush"}

pytestmark = pytest.mark.needs_root


def call(*words: str, text: bytes = b"", prefix: tuple[str, ...] = (), **options: Any) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    done = subprocess.run(
        [*prefix, *COMMAND, *words],
        input=text,
        capture_output=True,
        timeout=OUTER_S,
        check=False,
        env=ENVIRONMENT,
        **options,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def told(*words: str) -> dict[str, Any]:
    """The JSON object of an outcome."""
    _, out, err = call("--json", *words)
    assert err == ""
    value: dict[str, Any] = json.loads(out)
    return value


# --- output and exit codes ---


@pytest.mark.parametrize("level", mostly_long(LEVELS))
def test_output_and_exit_code_pass_through(level: str) -> None:
    script = "printf out; printf err >&2; exit 3"
    assert call("--level", level, "-c", script) == (3, "out", "err")


@pytest.mark.parametrize("level", mostly_long(LEVELS))
def test_a_signal_is_told_as_a_shell_does(level: str) -> None:
    code, _, err = call("--level", level, "-c", "kill -TERM $$")
    assert (code, err) == (128 + 15, "lattice-agent exec: ended by signal 15: terminated\n")


@pytest.mark.parametrize("level", mostly_long(LEVELS))
def test_its_time_is_up(level: str) -> None:
    code, out, err = call("--level", level, "--timeout", "300ms", "-c", "echo begun; exec sleep 60")
    assert (code, out) == (124, "begun\n")
    assert "its time was up" in err


DEAF = "trap '' TERM; sleep 60 & sleep 60 & wait"


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
def test_a_script_that_does_not_end_when_asked_is_told_as_killed_in_words(level: str) -> None:
    code, _, err = call("--level", level, "--timeout", "300ms", "-c", DEAF)
    assert code == 124
    assert re.search(r"did not end when asked and was killed 2[.0-9]* s later, with 2 other processes$", err.strip())


@pytest.mark.parametrize("level", mostly_long(LEVELS))
def test_a_script_that_does_not_end_when_asked_is_told_as_killed(level: str) -> None:
    _, out, _ = call("--json", "--level", level, "--timeout", "300ms", "-c", DEAF)
    told = json.loads(out)
    assert (told["grace_expired"], told["processes_killed"]) == (True, 2)
    assert told["grace_s"] >= 2


@pytest.mark.parametrize("level", mostly_long(CELLS))
def test_too_much_memory(level: str) -> None:
    hog = "x = bytearray(1 << 27)\nwhile True: pass"
    code, _, err = call("--level", level, "--memory", "32M", "--interpreter", "python3", "-c", hog)
    assert (code, err) == (137, "lattice-agent exec: ended: it used more than 32 MiB (--memory)\n")


@pytest.mark.long
def test_more_memory_is_for_one_process_too() -> None:
    script = "x = bytearray(600 << 20)\nprint(len(x) >> 20)"
    assert call("--memory", "1G", "--interpreter", "python3", "-c", script) == (0, "600\n", "")


def test_output_beyond_the_limit_is_cut_and_told() -> None:
    code, out, err = call("--output-limit", "4", "-c", "echo 0123456789")
    assert (code, out) == (0, "0123")
    assert err == "lattice-agent exec: stdout is cut: 4 of 11 bytes (--output-limit)\n"


@contextmanager
def started(*words: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    options = {"stdout": subprocess.PIPE, "env": ENVIRONMENT, **options}
    with subprocess.Popen([*COMMAND, *words], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], OUTER_S)[0]
    return process.stdout.readline()


@pytest.mark.parametrize("level", mostly_long(CELLS))
def test_output_comes_while_the_script_runs(level: str) -> None:
    with started("--level", level, "-c", "echo first; exec sleep 60") as process:
        assert line_of(process) == b"first\n"
        assert process.poll() is None


@pytest.mark.parametrize("level", mostly_long(["strict", "landlock"]))
def test_a_reader_that_goes_ends_the_script(level: str) -> None:
    with started("--level", level, "-c", "yes", stderr=subprocess.PIPE) as process:
        assert line_of(process) == b"y\n"
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(OUTER_S) == 141


@pytest.mark.long
def test_a_reader_that_stops_does_not_keep_the_script_alive() -> None:
    began = time.monotonic()
    with started("--timeout", "500ms", "-c", "yes", stderr=subprocess.PIPE) as process:
        assert process.wait(OUTER_S) == 124
        assert time.monotonic() - began < OUTER_S / 2
        assert process.stderr is not None
        assert b"found no reader in time" in process.stderr.read()


def test_a_reader_that_goes_before_the_end_is_no_fault() -> None:
    script = f'{sys.executable} -m lattice_agent exec "$@" | true'
    for words in (["--json", "-c", "echo 1"], ["--explain", "-c", ":"], ["-c", "echo 1"]):
        done = subprocess.run(["sh", "-c", script, "sh", *words], capture_output=True, env=ENVIRONMENT, timeout=OUTER_S)
        assert (done.returncode, done.stderr) == (0, b"")


def test_standard_input_of_a_script_is_empty() -> None:
    assert call("-c", "cat; echo end", text=b"not for the script") == (0, "end\n", "")


def test_a_token_of_the_caller_is_not_in_the_script_s_environment() -> None:
    for level in ("strict", "landlock", "host"):
        _, out, _ = call("--level", level, "-c", "env; cat /proc/$PPID/environ 2>&1")
        assert "PATH=" in out
        assert "hush" not in out


# --- where the script comes from ---


def test_from_a_file_by_its_first_line(tmp_path: Path) -> None:
    file = tmp_path / "script"
    file.write_text("#!/usr/bin/env python3\nimport sys; print(sys.version_info[0])")
    assert call(str(file)) == (0, "3\n", "")
    assert call(str(file), "--interpreter", "sh")[0] != 0  # flags may follow, and win


def test_from_standard_input() -> None:
    assert call("-", text=b'#!/bin/bash\necho "${BASH_VERSION:+bash}"') == (0, "bash\n", "")
    assert call("--level", "host", "-", text=b"echo plain") == (0, "plain\n", "")


def test_options_of_the_first_line_are_not_silently_dropped() -> None:
    code, out, err = call("-c", "#!/bin/sh -e\nfalse\necho on")
    assert (code, out) == (0, "on\n")
    assert err == "lattice-agent exec: note: the options of the script's first line are not applied: -e\n"


@pytest.mark.needs_node
def test_node_runs_without_a_limit_on_addresses() -> None:
    assert call("--interpreter", "node", "-c", "console.log(typeof WebAssembly.Memory)") == (0, "function\n", "")


# --- calls that make no sense, and scripts that are not started ---


NONSENSE = [
    ((), "one script is expected"),
    (("a", "b"), "one script is expected"),
    (("-c", ":", "file"), "one script is expected"),
    (("--level", "jail", "-c", ":"), "'jail'"),
    (("--network", "--level", "strict", "-c", ":"), "level strict has no network"),
    (("--timeout", "0", "-c", ":"), "-timeout is 0 s"),
    (("--timeout", "fast", "-c", ":"), "fast"),
    (("--memory", "much", "-c", ":"), "-memory is 'much'"),
    (("--output-limit", "0", "-c", ":"), "-output-limit is '0'"),
    (("--nonsense", "-c", ":"), "nonsense"),
]


@pytest.mark.parametrize(("words", "part"), NONSENSE, ids=[" ".join(words) for words, _ in NONSENSE])
def test_nonsense_is_refused_with_its_own_code(words: tuple[str, ...], part: str) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert part in err
    assert err.count("\n") == 1


NOT_STARTED = [
    (("/nonexistent/script",), "No such file or directory"),
    (("--interpreter", "perl", "-c", ":"), "perl"),
    (("-c", "#!/usr/bin/perl\n"), "/usr/bin/perl"),
    (("--level", "host", "/tmp"), "Is a directory"),
]


@pytest.mark.parametrize(("words", "part"), NOT_STARTED, ids=[" ".join(words) for words, _ in NOT_STARTED])
def test_what_cannot_be_started_is_told(words: tuple[str, ...], part: str) -> None:
    code, out, err = call(*words)
    assert (code, out) == (126, "")
    assert part in err
    assert err.count("\n") == 1


WITHOUT_NAMESPACES = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")


def test_a_level_that_is_not_reached_is_never_replaced_by_a_weaker_one() -> None:
    code, out, err = call("-c", "echo ran", prefix=WITHOUT_NAMESPACES)
    assert (code, out) == (126, "")
    assert "mount-namespace: Operation not permitted" in err
    assert "lattice-agent doctor" in err
    assert call("--level", "landlock", "-c", "echo ran", prefix=WITHOUT_NAMESPACES) == (0, "ran\n", "")


def test_help_lists_the_codes_and_the_fields() -> None:
    code, out, err = call("--help")
    assert (code, out) == (0, "")
    for word in ("124", "125", "126", "137", "-output-limit", "max_rss_bytes", "base64"):
        assert word in err


# --- the JSON object ---


def test_json_tells_the_whole_outcome() -> None:
    outcome = told("-c", "echo hi; printf 'a\\377b' >&2; exit 5")
    assert outcome["kind"] == "exited"
    assert outcome["level"] == "strict"
    assert (outcome["exit_code"], outcome["signal"], outcome["clock"]) == (5, None, None)
    assert outcome["stdout"] == {"text": "hi\n", "base64": None, "kept": 3, "produced": 3}
    assert outcome["stderr"]["text"] == "a\ufffdb"
    assert base64.b64decode(outcome["stderr"]["base64"]) == b"a\xffb"
    assert outcome["error"] == "exit status 5"
    assert 0 < outcome["wall_s"] < OUTER_S
    assert outcome["max_rss_bytes"] > 0


@pytest.mark.long
def test_json_tells_codes_apart() -> None:
    assert told("-c", "exit 124")["kind"] == "exited"
    late = told("--timeout", "200ms", "-c", "sleep 60")
    assert (late["kind"], late["clock"]) == ("timed_out", "wall")
    cut = told("--output-limit", "2", "-c", "echo 1234")
    assert (cut["kind"], cut["stdout"]["kept"], cut["stdout"]["produced"]) == ("output_limit", 2, 5)
    killed = told("-c", "sleep 60 & kill -9 $$")
    assert (killed["kind"], killed["signal"], killed["processes_killed"]) == ("signalled", 9, 1)
    assert told("--level", "host", "-c", ":")["level"] == "host"


def test_every_kind_of_outcome_has_a_code() -> None:
    from lattice_agent.cli.outcome_report import as_json, command_code, notes

    codes = {kind: command_code(Outcome(kind, Level.STRICT, exit_code=3, signal=15, message="why")) for kind in Kind}
    assert codes[Kind.EXITED] == codes[Kind.OUTPUT_LIMIT] == 3
    assert codes[Kind.SIGNALLED] == 143
    assert codes[Kind.CANCELLED] == 130
    assert codes[Kind.INTERRUPTED] == 125
    assert codes[Kind.REFUSED] == codes[Kind.FAILED_TO_START] == 126
    for kind in Kind:
        assert json.dumps(as_json(Outcome(kind, Level.STRICT)))
        list(notes(Outcome(kind, Level.STRICT, signal=1)))


# --- interruption ---


def processes_of(command: int) -> set[int]:
    """The command's children and all below them."""
    found: set[int] = set()
    waiting = [command]
    while waiting:
        pid = waiting.pop()
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        found |= set(map(int, children))
        waiting += map(int, children)
    return found


def gone(pids: set[int]) -> bool:
    """Whether all of them end in time."""
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([pidfd], [], [], OUTER_S)[0]:
                return False
        finally:
            os.close(pidfd)
    return True


@pytest.fixture
def place() -> Iterator[str]:
    """For work directories of levels that have them on the host; a script's own uid has to reach them there."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield path


@pytest.mark.parametrize("level", mostly_long(LEVELS))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interruption_ends_the_script_and_all_it_started(
    level: str, number: signal.Signals, tmp_path: Path, place: str
) -> None:
    script = "trap '' TERM INT HUP; sleep 60 & echo begun; wait"
    file = tmp_path / "errors"
    words = ("--level", level, "-c", script)
    with file.open("wb") as errors, started(*words, stderr=errors, env={**ENVIRONMENT, "TMPDIR": place}) as process:
        if level == "host":  # its output comes at the end
            deadline = time.monotonic() + OUTER_S
            while len(processes_of(process.pid)) < 4 and time.monotonic() < deadline:  # spawner, supervisor, sh, sleep
                pass
        else:
            assert line_of(process) == b"begun\n"
        below = processes_of(process.pid)
        process.send_signal(number)
        code = process.wait(OUTER_S)
    assert len(below) > 2
    assert gone(below)
    assert code in ({130} if number == signal.SIGINT else {-number, 128 + number})
    assert b"Traceback" not in file.read_bytes()
    if number != signal.SIGKILL:
        assert os.listdir(place) == []


# --- --explain ---


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as made:
        yield made


def in_world(world: World, uid: int, *words: str, environment: Mapping[str, str] | None = None) -> Any:
    """What a program prints as JSON."""
    process = world.start(
        [sys.executable, "-m", *words],
        uid=uid,
        environment={**ENVIRONMENT, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    output, _ = process.communicate(timeout=OUTER_S)
    return json.loads(output)


def alike(steps: list[list[str]]) -> list[list[str]]:
    """Without what is chosen by chance: ids of a cell, the name of a directory."""
    of_a_range = r"uid 1\d{3}, the launcher uid 1\d{3}, gid 1\d{3} of the user"
    changes = [(r"\b[0-9]{10}\b", "ID"), (r"\S*/lattice-task-x[^\s;]*", "DIRECTORY"), (of_a_range, "IDS")]
    for pattern, word in changes:
        steps = [[name, re.sub(pattern, word, what)] for name, what in steps]
    return steps


@pytest.mark.needs_netns
@pytest.mark.parametrize("agent", mostly_long(AGENTS))
@pytest.mark.parametrize("level", mostly_long(CELLS))
def test_explain_prints_the_very_steps_that_run(world: World, agent: str, level: str) -> None:
    words = ("lattice_agent", "exec", "--explain", "--json", "--level", level, "-c", ":")
    explained = in_world(world, AGENTS[agent], *words)
    carried_out = in_world(world, AGENTS[agent], "tests.rigs.telling_steps", level)
    assert len(carried_out) > 10
    assert alike([[step["name"], step["what"]] for step in explained["steps"]]) == alike(carried_out)
    assert all(step["why"] for step in explained["steps"])


def test_explain_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code, out, err = call("--explain", "--level", "host", "-c", f"touch {mark}")
    assert (code, err) == (0, "")
    assert "no cell at level host" in out
    assert not mark.exists()


def test_explain_tells_the_limits_of_this_very_call() -> None:
    words = ("--timeout", "7s", "--memory", "100M", "--output-limit", "5K", "-c", ":")
    explained = json.loads(call("--explain", "--json", *words)[1])
    limits = explained["limits"]
    assert limits["wall clock"].startswith("7 s")
    assert limits["memory"].startswith(f"{100 << 20} bytes")
    assert limits["output"].startswith("5120 bytes")
    _, out, _ = call(*words[:-1], "cat /proc/self/limits")
    found = dict(re.findall(r"^(Max .*?)  +(\w+) ", out, re.MULTILINE))
    assert limits["cpu"] == f"{found['Max cpu time']} s, then SIGKILL at {int(found['Max cpu time']) + 1} s"
    assert limits["processes"] == found["Max processes"]
    assert limits["data"] == f"{found['Max data size']} bytes"
    text = call("--explain", *words)[1]
    assert "Once for all cells of this kind:" in text
    assert "why: " in text


# --- without root ---


@pytest.mark.needs_netns
def test_groups_are_kept_only_when_that_is_allowed(world: World) -> None:
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=4,27", *COMMAND]

    def run(*words: str) -> tuple[int, bytes]:
        process = world.start(
            [*command, *words],
            environment=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = process.communicate(timeout=OUTER_S)
        return process.returncode, output

    code, output = run("-c", "echo ran")
    assert code == 126
    assert b"4, 27" in output
    assert b"--keep-groups" in output
    assert run("--keep-groups", "-c", "echo ran") == (0, b"ran\n")
