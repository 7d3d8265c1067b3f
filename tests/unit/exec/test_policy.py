"""Gates, limits and environment of a decision (protocol 3.1-3.4), all pure."""

import dataclasses
from typing import Any

import pytest

from lattice_agent.exec.plan import TASK_PATH, Level, Plan, Refusal, RefusalKind, TaskRequest
from lattice_agent.exec.policy import HostState, InterpreterRule, LocalPolicy, decide

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
POLICY = LocalPolicy()


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


def test_an_interpreter_outside_the_four_is_refused() -> None:
    assert refusal(asked(interpreter="perl")).reason == "interpreter is not allowlisted"


@pytest.mark.parametrize(("name", "shown"), [("sh", "/bin/sh"), ("bash", "/bin/bash"), ("node", "node")])
def test_a_missing_interpreter_is_named_by_its_fixed_path_or_its_name(name: str, shown: str) -> None:
    assert refusal(asked(interpreter=name), interpreters={}).reason == f"interpreter not found: {shown}"


def test_policy_takes_an_interpreter_away_or_maps_it() -> None:
    no_node = LocalPolicy(interpreters={"node": InterpreterRule(allowed=False)})
    assert refusal(asked(interpreter="node"), no_node).reason.startswith("interpreter is not allowlisted by this node")
    mapped = LocalPolicy(interpreters={"sh": InterpreterRule(path="/bin/bash")})
    assert refusal(policy=mapped, interpreters={}).reason == "interpreter not found: /bin/bash"
    assert planned(policy=mapped, interpreters={"sh": "/bin/bash"}).interpreter_path == "/bin/bash"


@pytest.mark.parametrize(
    ("asked_s", "given_s"), [(0, 30), (-5, 30), (1, 1), (600, 600), (601, 601), (900, 900), (901, 900), (10**6, 900)]
)
def test_weak_point_06_long_timeouts_are_honoured_and_clamped_never_replaced(asked_s: int, given_s: int) -> None:
    limits = planned(asked(timeout_sec=asked_s)).limits
    assert (limits.wall_s, limits.cpu_s) == (given_s, given_s + 5)


@pytest.mark.parametrize(
    ("asked_bytes", "given"), [(0, 65_536), (-1, 65_536), (16, 16), (262_144, 262_144), (262_145, 262_144)]
)
def test_output_limit_is_defaulted_and_clamped(asked_bytes: int, given: int) -> None:
    assert planned(asked(output_limit=asked_bytes)).limits.output_bytes == given


def test_policy_lowers_limits_and_never_raises_what_was_asked() -> None:
    strict = LocalPolicy(max_timeout_s=5, max_output_bytes=100)
    assert planned(policy=strict).limits.wall_s == 5
    assert planned(policy=strict).limits.output_bytes == 100
    assert planned(asked(timeout_sec=2, output_limit=7), strict).limits.wall_s == 2
    assert planned(asked(timeout_sec=0), strict).limits.wall_s == 5


def test_weak_point_15_resource_limits_come_from_policy_and_leave_room_over_what_runs_now() -> None:
    limits = planned(policy=LocalPolicy(file_bytes=1 << 30, data_bytes=1 << 31, processes=100)).limits
    assert (limits.file_bytes, limits.data_bytes, limits.processes) == (1 << 30, 1 << 31, 110)
    assert planned().limits.processes == 74
    assert planned(uid_threads=None).limits.processes == 64


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


def test_lingering_is_off_by_default_on_with_the_root_opt_in_and_policy_has_the_last_word() -> None:
    assert planned().linger_s == 0
    assert planned(uid=0, allow_root_exec=True).linger_s == 120
    assert planned(policy=LocalPolicy(host_linger_s=0.0), uid=0, allow_root_exec=True).linger_s == 0
    assert planned(policy=LocalPolicy(host_linger_s=7.5)).linger_s == 7.5


def test_a_script_that_would_replace_the_agent_is_refused_unless_policy_allows_it() -> None:
    update = asked(script="set -e\necho 'lattice agent update: effective target=v1'\ncurl ...")
    assert refusal(update).kind is RefusalKind.AGENT_REPLACEMENT
    assert "allow_agent_replacement = true" in refusal(update).reason
    assert planned(update, LocalPolicy(allow_agent_replacement=True)).script == update.script.encode()


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


def test_a_script_of_exactly_64_kib_runs_byte_for_byte() -> None:
    text = "#é" + "x" * (65_536 - 3)
    assert planned(asked(script=text)).script == text.encode()
