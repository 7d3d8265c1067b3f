"""``policy``: its words, and that what it explains is what ``decide`` does."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lattice_agent.cli import commands, explanation, policy
from lattice_agent.cli.goflags import FlagError
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.local_policy import INTERPRETERS, Bounds, InterpreterRule, LevelRule, LocalPolicy, ScriptRule
from lattice_agent.exec.plan import MIB, Level, Plan, Refusal, TaskRequest
from lattice_agent.exec.policy import decide
from lattice_agent.exec.script_header import header_for

PROGRAMS = {name: f"/usr/bin/{name}" for name in INTERPRETERS}
HOST = HostState(
    allow_exec=True,
    allow_root_exec=False,
    no_exec=False,
    uid=1000,
    interpreters=PROGRAMS,
    agent_bin="lattice-agent",
    work_root=None,
    uid_threads=None,
    reached=frozenset(Level),
    confined_interpreters=dict.fromkeys(Level, PROGRAMS),
)
DIGEST = "a" * 64
POLICY = LocalPolicy(
    from_file=True,
    bounds=Bounds(max_timeout_s=60),
    levels={
        Level.NETWORK: LevelRule(
            allowed=True,
            read_only=("/srv/a",),
            writable=("/srv/b",),
            environment=("LANG",),
            bounds=Bounds(memory_bytes=100 * MIB),
        ),
        Level.HOST: LevelRule(allowed=False),
    },
    interpreters={"node": InterpreterRule(allowed=False)},
    scripts={DIGEST: ScriptRule(level=Level.LANDLOCK, interpreter="bash", bounds=Bounds(max_timeout_s=900))},
)


def told(script: str | None = None, what: LocalPolicy = POLICY, host: HostState = HOST) -> dict[str, Any]:
    return explanation.explain(what, host, INTERPRETERS, list(Level), script)


def test_the_command_is_known() -> None:
    assert commands.subcommand("policy") is policy.run


@pytest.mark.parametrize("interpreter", INTERPRETERS)
@pytest.mark.parametrize("level", Level)
def test_each_row_is_the_decision_on_a_task_that_asks_for_that_level(interpreter: str, level: Level) -> None:
    request = TaskRequest("t", "l", interpreter, header_for(level, interpreter), 900, 262_144)
    decision = decide(request, POLICY, HOST)
    rows = [row for row in told()["tasks"] if (row["interpreter"], row["level"]) == (interpreter, level)]
    assert len(rows) == 1
    row = rows[0]
    if isinstance(decision, Refusal):
        assert (row["runs"], row["kind"], row["because"]) == (False, decision.kind, decision.reason)
        return
    assert isinstance(decision, Plan)
    assert (row["runs"], row["level"], row["program"]) == (True, decision.level, decision.interpreter_path)
    assert row["limits"]["timeout_s"] == decision.limits.wall_s
    for name in ("output_bytes", "processes", "file_bytes", "data_bytes"):
        assert row["limits"][name] == getattr(decision.limits, name)
    assert row["limits"]["memory_bytes"] == (decision.limits.memory_bytes if decision.profile else None)


def test_what_a_cell_shows_and_which_rule_opened_it() -> None:
    row = next(row for row in told()["tasks"] if (row["interpreter"], row["level"]) == ("sh", "network"))
    assert row["because"] == "asked for, and levels.network.allowed = true"
    assert row["cell"] == {
        "network": True,
        "read_only": ["/srv/a"],
        "writable": ["/srv/b"],
        "work_bytes": 64 * MIB,
        "work_inodes": 8192,
        "work_disk": None,
    }
    assert row["environment"] == ["LANG"]
    assert (row["limits"]["timeout_s"], row["limits"]["memory_bytes"]) == (60, 100 * MIB)


def test_scripts_with_a_rule_have_rows_of_their_own() -> None:
    (row,) = told()["scripts"]
    assert (row["sha256"], row["interpreter"], row["level"]) == (DIGEST, "bash", "landlock")
    assert row["because"] == "the rule for this script"
    assert row["limits"]["timeout_s"] == 900
    assert row["cell"]["work_bytes"] is None  # there is no tmpfs without a mount namespace


def test_a_script_at_hand_is_decided_on_with_its_header() -> None:
    rows = {row["interpreter"]: row for row in told("# lattice: level=network\n")["script"]}
    assert rows["sh"]["level"] == "network"
    assert rows["node"]["runs"] is False
    for row in told("# lattice: level=nowhere\n")["script"]:
        assert row["runs"] is False
    assert told("x" * 65_537)["script"][0]["because"].startswith("script has 65537 bytes")


def test_only_listed_scripts_shows_in_every_row() -> None:
    closed = LocalPolicy(from_file=True, only_listed_scripts=True)
    rows = told(what=closed)["tasks"]
    assert {row["kind"] for row in rows} == {"script"}
    assert rows[0]["because"].endswith("not among them: sha256 of any script without a rule")


def test_the_text_has_every_row_and_every_value() -> None:
    text = explanation.as_text({"policy": "p.toml", "reached_is_assumed": True, **told("echo\n")})
    for part in (
        "policy   p.toml",
        "agent    uid 1000, -allow-exec=true, -allow-root-exec=false",
        "reached  strict, network, landlock, host (assumed;",
        "minimum  strict",
        "default  strict: the strongest level",
        "sh that asks for network: runs at network: asked for, and levels.network.allowed = true",
        "limits       60 s, output 256 KiB a stream, memory 100 MiB, 64 processes, files 8 MiB, data 512 MiB",
        "cell         the host's network, work directory of 64 MiB and 8192 inodes, read-only /srv/a, writable /srv/b",
        "environment  LANG",
        "node that asks for strict: refused: interpreter is not allowlisted by this node's policy: node",
        f"bash, script {DIGEST}: runs at landlock: the rule for this script",
        "sh, the script given: runs at strict",
    ):
        assert part in text, part
    assert text.count("\n\n") == len(INTERPRETERS) * len(Level) + 1 + len(INTERPRETERS)


def test_a_root_opt_in_is_explained_as_it_is() -> None:
    root = HostState(**{**vars(HOST), "uid": 0, "allow_root_exec": True})
    answer = told(what=LocalPolicy(from_file=True, min_level=Level.HOST, default_level=Level.HOST), host=root)
    row = next(row for row in answer["tasks"] if row["level"] == "host")
    assert (answer["default_level"], row["runs"], row["linger_s"]) == ("host", True, 120)
    assert row["limits"]["processes_are_above_those_of_the_uid"] is True
    assert row["cell"] is None
    assert "linger       120 s" in explanation.as_text({"policy": "p", "reached_is_assumed": False, **answer})


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text('min_level = "host"\n')
    return str(path)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "policy (nothing) is no command"),
        (("chekc",), "policy chekc is no command"),
        (("-json",), "flag provided but not defined: -json"),
        (("check",), "one policy file is expected, not 0"),
        (("check", "a", "b"), "one policy file is expected, not 2"),
        (("check", "-json", "a"), "flag provided but not defined: -json"),
        (("explain", "--json"), "one policy file is expected, not 0"),
        (("explain", "a", "--level", "strct"), "-level is 'strct', not one of strict, network, landlock, host"),
        (("explain", "a", "--interpreter=perl"), "-interpreter is 'perl', not one of sh, bash, python3, node"),
        (("explain", "a", "--reached", "strict,x"), "-reached is 'x'"),
        (("explain", "a", "--min-level", "x"), "-min-level is 'x'"),
        (("explain", "a", "--uid", "me"), 'invalid value "me" for flag -uid'),
        (("explain", "a", "--level"), "flag needs an argument: -level"),
    ],
)
def test_a_call_that_makes_no_sense_is_a_flag_error(words: tuple[str, ...], line: str) -> None:
    with pytest.raises(FlagError) as error:
        policy.run(words, {})
    assert str(error.value).startswith(line)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("words", [("-h",), ("check", "-h"), ("explain", "--help")])
def test_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert policy.run(words, {}) == os.EX_OK
    assert "-interpreter string" in capsys.readouterr().err


@pytest.mark.needs_root  # the file must belong to root to be taken
def test_flags_may_stand_on_both_sides_of_the_file(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("explain", "--json", file, "--interpreter", "sh", "--level=host", "--uid", "7", "--reached=landlock")
    assert policy.run(words, {"PATH": "/usr/bin"}) == os.EX_OK
    answer = json.loads(capsys.readouterr().out)
    assert (answer["uid"], answer["reached"], answer["default_level"]) == (7, ["landlock", "host"], "landlock")
    assert [(row["interpreter"], row["level"], row["runs"]) for row in answer["tasks"]] == [("sh", "host", False)]
    assert answer["reached_is_assumed"] is False


@pytest.mark.needs_root
def test_the_flags_of_the_agent_count(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    policy.run(("explain", "--json", "--min-level", "network", "--allow-root-exec", "--uid", "0", file), {})
    answer = json.loads(capsys.readouterr().out)
    assert (answer["min_level"], answer["allow_root_exec"], answer["default_level"]) == ("network", True, "strict")
