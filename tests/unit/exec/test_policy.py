"""Gates, limits and environment of a decision (protocol 3.1-3.4), all pure. Which level it is: test_level_choice."""

import dataclasses
import hashlib
from typing import Any

import pytest

from lattice_agent.audit import script_sha256
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.local_policy import Bounds, InterpreterRule, LevelRule, LocalPolicy, ScriptRule
from lattice_agent.exec.plan import MIB, TASK_PATH, Level, Plan, Profile, Refusal, RefusalKind, TaskRequest
from lattice_agent.exec.policy import Ask, agree, decide

REQUEST = TaskRequest("task_a", "lease_b", "sh", "echo hi", timeout_sec=20, output_limit=1000)
HOST = HostState(
    allow_exec=True,
    allow_root_exec=False,
    no_exec=False,
    uid=1000,
    interpreters={"sh": "/bin/sh", "bash": "/bin/bash", "python3": "/usr/bin/python3", "node": "/usr/bin/node"},
    agent_bin="/opt/lattice/lattice-agent",
    work_root=None,
    uid_threads=10,
)
POLICY = LocalPolicy(min_level=Level.HOST)
INSIDE = {"sh": "/bin/sh", "bash": "/bin/bash", "python3": "/usr/bin/python3", "node": "/usr/bin/node"}
CELLS: dict[str, Any] = {
    "reached": frozenset(Level),
    "confined_interpreters": {level: INSIDE for level in Level if level is not Level.HOST},
}
"""A host that reaches every level."""


def at(level: Level, **rule: Any) -> LocalPolicy:
    """A policy that runs everything at one level."""
    return LocalPolicy(min_level=level, default_level=level, levels={level: LevelRule(**rule)})


def listed(rule: ScriptRule, policy: LocalPolicy = POLICY) -> LocalPolicy:
    """The policy with a rule for the script of REQUEST."""
    return dataclasses.replace(policy, scripts={script_sha256(REQUEST.script): rule})


def planned(request: TaskRequest = REQUEST, policy: LocalPolicy = POLICY, **host: object) -> Plan:
    decision = decide(request, policy, dataclasses.replace(HOST, **host))  # type: ignore[arg-type]  # field values
    assert isinstance(decision, Plan)
    return decision


def refusal(request: TaskRequest = REQUEST, policy: LocalPolicy = POLICY, **host: object) -> Refusal:
    decision = decide(request, policy, dataclasses.replace(HOST, **host))  # type: ignore[arg-type]  # field values
    assert isinstance(decision, Refusal)
    return decision


def asked(**changes: object) -> TaskRequest:
    return dataclasses.replace(REQUEST, **changes)  # type: ignore[arg-type]  # field values


@pytest.mark.parametrize("off", [{"allow_exec": False}, {"no_exec": True}])
def test_trap_08_exec_off_is_refused_with_the_text_the_server_matches(off: dict[str, Any]) -> None:
    assert refusal(uid=0, **off) == Refusal(
        RefusalKind.EXEC_DISABLED, "agent task execution disabled; restart with -allow-exec=true to enable"
    )


def test_root_without_opt_in_is_refused_before_the_interpreter_is_looked_at() -> None:
    expected = "refusing to execute task as root; restart with -allow-root-exec=true to opt in"
    assert refusal(asked(interpreter="perl"), uid=0) == Refusal(RefusalKind.ROOT, expected)
    assert planned(uid=0, allow_root_exec=True).level is Level.HOST


@pytest.mark.parametrize("word", ["# lattice: level=nowhere\n", "\ud800"])
def test_the_gates_come_before_the_words_of_the_request(word: str) -> None:
    assert refusal(asked(script=word), uid=0).kind is RefusalKind.ROOT
    assert refusal(asked(script=word, interpreter="perl")).kind is RefusalKind.INTERPRETER


def test_an_interpreter_outside_the_four_is_refused() -> None:
    assert refusal(asked(interpreter="perl")).reason == "interpreter is not allowlisted"


@pytest.mark.parametrize(("name", "shown"), [("sh", "/bin/sh"), ("bash", "/bin/bash"), ("node", "node")])
def test_a_missing_interpreter_is_named_by_its_fixed_path_or_its_name(name: str, shown: str) -> None:
    assert refusal(asked(interpreter=name), interpreters={}).reason == f"interpreter not found: {shown}"


def test_policy_takes_an_interpreter_away_or_maps_it() -> None:
    no_node = LocalPolicy(min_level=Level.HOST, interpreters={"node": InterpreterRule(allowed=False)})
    assert refusal(asked(interpreter="node"), no_node).reason.startswith("interpreter is not allowlisted by this node")
    mapped = LocalPolicy(min_level=Level.HOST, interpreters={"sh": InterpreterRule(path="/bin/bash")})
    assert refusal(policy=mapped, interpreters={}).reason == "interpreter not found: /bin/bash"
    assert planned(policy=mapped, interpreters={"sh": "/bin/bash"}).interpreter_path == "/bin/bash"


@pytest.mark.parametrize(
    ("asked_s", "given_s"), [(0, 30), (-5, 30), (1, 1), (600, 600), (601, 601), (900, 900), (901, 900), (10**6, 900)]
)
def test_weak_point_06_long_timeouts_are_honoured_and_clamped_never_replaced(asked_s: int, given_s: int) -> None:
    limits = planned(asked(timeout_sec=asked_s)).limits
    assert (limits.wall_s, limits.cpu_s) == (given_s, given_s + 5)


@pytest.mark.parametrize(
    ("asked_bytes", "given"), [(0, 65_536), (-1, 65_536), (1, 1), (16, 16), (262_144, 262_144), (262_145, 262_144)]
)
def test_output_limit_is_defaulted_and_clamped(asked_bytes: int, given: int) -> None:
    assert planned(asked(output_limit=asked_bytes)).limits.output_bytes == given


def test_policy_lowers_limits_and_never_raises_what_was_asked() -> None:
    strict = LocalPolicy(min_level=Level.HOST, bounds=Bounds(max_timeout_s=5, max_output_bytes=100))
    assert planned(policy=strict).limits.wall_s == 5
    assert planned(policy=strict).limits.output_bytes == 100
    assert planned(asked(timeout_sec=2, output_limit=7), strict).limits.wall_s == 2
    assert planned(asked(timeout_sec=0), strict).limits.wall_s == 5


def test_weak_point_15_resource_limits_come_from_policy_and_leave_room_over_what_runs_now() -> None:
    bounds = Bounds(file_bytes=1 << 30, data_bytes=1 << 31, processes=100)
    limits = planned(policy=LocalPolicy(min_level=Level.HOST, bounds=bounds)).limits
    assert (limits.file_bytes, limits.data_bytes, limits.processes) == (1 << 30, 1 << 31, 110)
    assert planned().limits.processes == 74
    assert planned(uid_threads=None).limits.processes == 64


NAMES: dict[str, tuple[str, int | None, int, int, int]] = {
    "max_timeout_s": ("wall_s", 900, 3, 5, 7),
    "max_output_bytes": ("output_bytes", 262_144, 30, 50, 70),
    "memory_bytes": ("memory_bytes", 512 * MIB, 300 * MIB, 500 * MIB, 700 * MIB),
    "processes": ("processes", 64, 30, 50, 70),
    "cpu_percent": ("cpu_percent", None, 30, 50, 70),
    "file_bytes": ("file_bytes", 8 * MIB, 3, 5, 7),
    "data_bytes": ("data_bytes", 512 * MIB, 300 * MIB, 500 * MIB, 700 * MIB),
}
"""Bound of the policy: limit of the run, its default, and three values."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_of_general_level_and_interpreter_bounds_the_lowest_holds(name: str, order: tuple[int, int, int]) -> None:
    limit, default, *values = NAMES[name]
    tables = [Bounds(**{name: values[index]}) for index in order]
    policy = LocalPolicy(
        bounds=tables[0],
        levels={Level.STRICT: LevelRule(bounds=tables[1])},
        interpreters={"sh": InterpreterRule(bounds=tables[2])},
    )
    most = asked(timeout_sec=900, output_limit=262_144)
    assert getattr(planned(most, policy, **CELLS).limits, limit) == min(values)
    assert getattr(planned(most, LocalPolicy(), **CELLS).limits, limit) == default


@pytest.mark.parametrize("name", NAMES)
def test_one_table_alone_may_go_above_the_default_and_others_do_not_apply(name: str) -> None:
    limit, default, _, _, high = NAMES[name]
    most = asked(timeout_sec=900, output_limit=262_144)
    policy = LocalPolicy(
        levels={Level.STRICT: LevelRule(bounds=Bounds(**{name: high}))},
        interpreters={"bash": InterpreterRule(bounds=Bounds(**{name: 1}))},
    )
    assert getattr(planned(most, policy, **CELLS).limits, limit) == high
    other = dataclasses.replace(policy, default_level=Level.NETWORK, min_level=Level.NETWORK)
    assert getattr(planned(most, other, **CELLS).limits, limit) == default


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pick", [2, 4])
def test_the_rule_for_the_very_script_stands_in_place_of_the_others_lower_or_higher(name: str, pick: int) -> None:
    limit = NAMES[name][0]
    value: Any = NAMES[name][pick]
    tables = Bounds(**{name: NAMES[name][3]})
    policy = listed(ScriptRule(bounds=Bounds(**{name: value})), LocalPolicy(bounds=tables))
    most = asked(timeout_sec=900, output_limit=262_144)
    assert getattr(planned(most, policy, **CELLS).limits, limit) == value
    silent = listed(ScriptRule(), LocalPolicy(bounds=tables))
    assert getattr(planned(most, silent, **CELLS).limits, limit) == NAMES[name][3]


def test_a_rule_for_the_script_does_not_raise_what_the_task_asks_for() -> None:
    policy = listed(ScriptRule(bounds=Bounds(max_timeout_s=900, max_output_bytes=262_144)))
    limits = planned(policy=policy).limits
    assert (limits.wall_s, limits.output_bytes) == (REQUEST.timeout_sec, REQUEST.output_limit)


def test_processes_are_counted_from_nothing_where_the_uid_is_the_cells_own() -> None:
    assert planned(policy=LocalPolicy(), **CELLS).limits.processes == 64
    shared = frozenset({Level.HOST, Level.STRICT})
    assert planned(policy=LocalPolicy(), **CELLS, shared_uid=shared).limits.processes == 74


@pytest.mark.parametrize(("uid", "expected"), [(0, 64), (1000, 74)])
def test_a_script_without_root_whose_files_are_on_disk_has_the_agents_uid(uid: int, expected: int) -> None:
    on_disk = LocalPolicy(levels={Level.STRICT: LevelRule(work_disk="/srv/work")})
    assert planned(policy=on_disk, **CELLS, uid=uid).limits.processes == expected


def test_address_space_is_8_gib_but_for_node_which_could_not_fetch_with_it() -> None:
    assert planned().limits.address_bytes == 8 << 30
    assert planned(asked(interpreter="node")).limits.address_bytes is None


def test_trap_10_and_weak_point_16_the_environment_is_complete_and_finds_the_agent_and_sbin() -> None:
    assert dict(planned().environment_in("/tmp/d")) == {
        "PATH": "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin:/usr/local/sbin:/opt/lattice",
        "HOME": "/tmp/d",
        "TMPDIR": "/tmp/d",
        "XDG_RUNTIME_DIR": "/tmp/d",
        "LATTICE_TASK_ID": "task_a",
        "LATTICE_TASK_LEASE_ID": "lease_b",
        "LATTICE_AGENT_BIN": "/opt/lattice/lattice-agent",
    }


@pytest.mark.parametrize("agent_bin", ["/usr/local/bin/lattice-agent", "/odd:place/lattice-agent"])
def test_the_agents_directory_is_added_once_and_only_if_path_can_hold_it(agent_bin: str) -> None:
    assert dict(planned(agent_bin=agent_bin).environment)["PATH"] == TASK_PATH


@pytest.mark.parametrize("level", [Level.STRICT, Level.NETWORK, Level.LANDLOCK])
def test_the_environment_of_a_cell_has_nothing_of_the_host(level: Level) -> None:
    ca_file = (("LATTICE_CA_FILE", "/etc/ca.pem"),)
    assert planned(policy=at(level), **CELLS, agent_environment=ca_file).environment == (
        ("PATH", TASK_PATH),
        ("LATTICE_TASK_ID", "task_a"),
        ("LATTICE_TASK_LEASE_ID", "lease_b"),
    )
    assert ca_file[0] in planned(agent_environment=ca_file).environment


@pytest.mark.parametrize("level", Level)
def test_policy_passes_variables_on_level_by_level_if_the_agent_has_them(level: Level) -> None:
    has = {"LANG": "C.UTF-8", "OTHER": "x"}
    plan = planned(policy=at(level, environment=("LANG", "TZ")), **CELLS, environment=has)
    assert ("LANG", "C.UTF-8") in plan.environment
    assert not {"TZ", "OTHER"} & {name for name, _ in plan.environment}
    assert "LANG" not in dict(planned(policy=at(level), **CELLS, environment=has).environment)


def test_a_cell_is_built_as_policy_says_for_its_level() -> None:
    built = {
        "read_only": ("/srv/a",),
        "writable": ("/srv/b",),
        "work_bytes": 5 * MIB,
        "work_inodes": 77,
        "work_disk": "/srv/w",
    }
    for level in (Level.STRICT, Level.NETWORK):
        plan = planned(policy=at(level, **built), **CELLS, work_root="/w")
        assert plan.profile == Profile(level, **built)  # type: ignore[arg-type]  # field values
        assert (plan.level, plan.work_root, plan.linger_s) == (level, None, 0)
    assert planned(policy=LocalPolicy(), **CELLS).profile == Profile(Level.STRICT)
    assert planned(work_root="/w").profile is None
    assert planned(work_root="/w").work_root == "/w"


def test_network_is_a_choice_at_level_landlock_only() -> None:
    for allowed in (True, False):
        plan = planned(policy=at(Level.LANDLOCK, network=allowed), **CELLS, work_root="/w")
        assert plan.profile == Profile(Level.LANDLOCK, network=allowed)
        assert plan.work_root == "/w"
    assert planned(policy=at(Level.STRICT, network=True), **CELLS).profile == Profile(Level.STRICT)


def test_a_cell_has_its_own_way_to_the_interpreter() -> None:
    here = {"python3": "/home/x/python3"}
    python = asked(interpreter="python3")
    assert planned(python, LocalPolicy(), **CELLS, interpreters=here).interpreter_path == "/usr/bin/python3"
    assert planned(python, interpreters=here).interpreter_path == "/home/x/python3"


def test_an_interpreter_that_cells_do_not_show_is_refused_with_where_it_is_and_what_to_do() -> None:
    here = {"python3": "/home/x/python3"}
    cells = CELLS | {"confined_interpreters": {Level.NETWORK: INSIDE}}
    told = refusal(asked(interpreter="python3"), LocalPolicy(), **cells, interpreters=here)
    assert told.kind is RefusalKind.INTERPRETER_MISSING
    assert told.reason.startswith("interpreter not found inside a cell of level strict: python3 is /home/x/python3 ")
    assert "interpreters.python3.path" in told.reason
    assert "levels.strict.read_only" in told.reason
    absent = refusal(asked(interpreter="python3"), LocalPolicy(), **cells, interpreters={})
    assert absent.reason == "interpreter not found: python3"


def test_lingering_is_off_by_default_on_with_the_root_opt_in_and_policy_has_the_last_word() -> None:
    assert planned().linger_s == 0
    assert planned(uid=0, allow_root_exec=True).linger_s == 120
    silent = dataclasses.replace(POLICY, host_linger_s=0.0)
    assert planned(policy=silent, uid=0, allow_root_exec=True).linger_s == 0
    lingering = dataclasses.replace(POLICY, host_linger_s=7.5)
    assert planned(policy=lingering).linger_s == 7.5
    assert planned(policy=lingering, **CELLS).linger_s == 0


def test_a_rule_is_for_the_text_that_the_audit_names() -> None:
    text = "echo ä\r\n"
    forbidden = LocalPolicy(scripts={hashlib.sha256(text.encode()).hexdigest(): ScriptRule(allowed=False)})
    told = refusal(asked(script=text), forbidden, **CELLS)
    assert told == Refusal(RefusalKind.SCRIPT, f"this node's policy forbids this script: sha256 {script_sha256(text)}")
    assert planned(asked(script=text + " "), forbidden, **CELLS)


def test_only_listed_scripts_run_if_the_owner_says_so() -> None:
    nothing = dataclasses.replace(POLICY, only_listed_scripts=True)
    told = refusal(policy=nothing)
    assert told.kind is RefusalKind.SCRIPT
    assert told.reason.endswith(f"not among them: sha256 {script_sha256(REQUEST.script)}")
    assert planned(policy=listed(ScriptRule(), nothing))
    assert refusal(policy=listed(ScriptRule(allowed=False), nothing)).kind is RefusalKind.SCRIPT


def test_a_script_listed_for_one_interpreter_is_not_listed_for_another() -> None:
    policy = listed(ScriptRule(interpreter="sh", level=Level.HOST))
    assert planned(policy=policy)
    told = refusal(asked(interpreter="python3"), policy)
    assert told.kind is RefusalKind.SCRIPT
    assert "lists this script for sh, not for python3" in told.reason


@pytest.mark.parametrize("word", ["level=strictest", "level", "net=on"])
def test_a_header_that_is_not_understood_refuses_the_task(word: str) -> None:
    told = refusal(asked(script=f"# lattice: {word}\n"))
    assert told.kind is RefusalKind.REQUEST
    assert told.reason.startswith("script header (line 1)")


def test_a_task_runs_at_the_level_it_asks_for() -> None:
    policy = LocalPolicy(levels={Level.NETWORK: LevelRule(allowed=True)})
    assert planned(asked(script="# lattice: level=network\n"), policy, **CELLS).level is Level.NETWORK
    told = refusal(asked(script="# lattice: level=network\n"), LocalPolicy(), **CELLS)
    assert told.kind is RefusalKind.LEVEL


def test_what_would_be_explained_is_what_would_be_done() -> None:
    ask = Ask("sh", script_sha256(REQUEST.script), None, REQUEST.timeout_sec, REQUEST.output_limit)
    host = dataclasses.replace(HOST, **CELLS)
    terms = agree(ask, LocalPolicy(), host)
    plan = planned(policy=LocalPolicy(), **CELLS)
    assert not isinstance(terms, Refusal)
    assert (terms.limits, terms.profile, terms.interpreter_path) == (plan.limits, plan.profile, plan.interpreter_path)
    assert agree(ask, LocalPolicy(), HOST) == refusal(policy=LocalPolicy())


@pytest.mark.parametrize(
    ("interpreter", "changes", "kind"),
    [
        ("perl", {}, RefusalKind.INTERPRETER),
        ("sh", {"no_exec": True}, RefusalKind.EXEC_DISABLED),
        ("sh", {"uid": 0}, RefusalKind.ROOT),
    ],
)
def test_who_asks_for_an_explanation_meets_the_same_gates(
    interpreter: str, changes: dict[str, Any], kind: RefusalKind
) -> None:
    told = agree(Ask(interpreter, "0" * 64, None, 1, 1), POLICY, dataclasses.replace(HOST, **changes))
    assert isinstance(told, Refusal)
    assert told.kind is kind


def test_a_script_that_would_replace_the_agent_is_refused_unless_policy_allows_it() -> None:
    update = asked(script="set -e\necho 'lattice agent update: effective target=v1'\ncurl ...")
    assert refusal(update).kind is RefusalKind.AGENT_REPLACEMENT
    assert "allow_agent_replacement = true" in refusal(update).reason
    assert planned(update, dataclasses.replace(POLICY, allow_agent_replacement=True)).script == update.script.encode()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"script": "x" * 65_537}, "65537"),
        ({"script": "\ud800"}, "Unicode"),
        ({"task_id": "a\0b"}, "task_id"),
        ({"lease_id": ""}, "lease_id"),
        ({"task_id": "x" * 257}, "task_id"),
    ],
)
def test_what_cannot_be_run_as_it_is_gets_refused(change: dict[str, str], word: str) -> None:
    assert refusal(asked(**change)).kind is RefusalKind.REQUEST
    assert word in refusal(asked(**change)).reason


@pytest.mark.parametrize("length", [1, 256])
def test_an_id_of_up_to_256_characters_is_one(length: int) -> None:
    assert planned(asked(task_id="ß" * length, lease_id="x" * length)).run_id == "ß" * length


def test_a_script_of_exactly_64_kib_runs_byte_for_byte() -> None:
    text = "#é" + "x" * (65_536 - 3)
    assert planned(asked(script=text)).script == text.encode()
