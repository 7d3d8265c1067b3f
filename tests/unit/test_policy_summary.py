"""The summary of a policy against the decision itself: what a control plane concludes from it is what the node says.

Any policy, host and request; what the summary declares that it does not tell may be unknown, and nothing else is wrong.
"""

import hashlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.local_policy import INTERPRETERS, Bounds, InterpreterRule, LevelRule, LocalPolicy, ScriptRule
from lattice_agent.exec.plan import MIB, Level, Plan, TaskRequest
from lattice_agent.exec.policy import EXEC_DISABLED, decide
from lattice_agent.policy_summary import summarise
from lattice_agent.wire.base import decode, encode
from lattice_agent.wire.policy import MAX_SCRIPTS, PolicySummary
from server_stub.rules.policy_preview import Verdict, preview
from server_stub.rules.task_limits import TaskOrder
from tests.rigs.extent import extent
from tests.unit.exec.test_policy_properties import EVERYWHERE, asked_by, hosts, policies, requests

sometimes = st.dictionaries(st.sampled_from(INTERPRETERS), st.just("/usr/bin/x"))
uneven_hosts = st.builds(
    lambda host, found, confined: replace(host, interpreters=found, confined_interpreters=confined),
    hosts,
    sometimes,
    st.dictionaries(st.sampled_from(Level), sometimes),
)


def host(**changes: object) -> HostState:
    usual = HostState(
        allow_exec=True,
        allow_root_exec=False,
        no_exec=False,
        uid=0,
        interpreters=EVERYWHERE,
        agent_bin="/usr/bin/lattice-agent",
        work_root=None,
        uid_threads=None,
        reached=frozenset(Level),
        confined_interpreters=dict.fromkeys(Level, EVERYWHERE),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # fields by name


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def concluded(request: TaskRequest, summary: PolicySummary) -> Verdict:
    """What a control plane says that has only what came over the wire."""
    order = TaskOrder(("n1",), request.interpreter, request.script, request.timeout_sec, request.output_limit)
    return preview(order, digest(request.script), decode(PolicySummary, encode(summary))).verdict


@settings(max_examples=extent(100, 600), deadline=None)
@given(requests(), policies, hosts | uneven_hosts)
def test_property_a_control_plane_is_never_told_wrong(
    request: TaskRequest, policy: LocalPolicy, state: HostState
) -> None:
    summary = summarise(policy, state)
    verdict, runs = concluded(request, summary), isinstance(decide(request, policy, state), Plan)
    if verdict is Verdict.UNKNOWN:
        rule, asked = policy.scripts.get(digest(request.script)), asked_by(request)
        assert rule is not None or (asked is not None and asked.value in summary.uneven_levels)
    else:
        assert (verdict is Verdict.RUNS) == runs


@settings(max_examples=extent(60, 300), deadline=None)
@given(requests(), policies, hosts)
def test_property_no_plan_without_a_rule_exceeds_the_bounds(
    request: TaskRequest, policy: LocalPolicy, state: HostState
) -> None:
    plan, summary = decide(request, policy, state), summarise(policy, state)
    if isinstance(plan, Plan) and digest(request.script) not in policy.scripts:
        assert plan.limits.wall_s <= summary.max_timeout_sec
        assert plan.limits.output_bytes <= summary.max_output_bytes
        assert plan.profile is None or plan.limits.memory_bytes <= summary.memory_bytes


def test_the_summary_of_the_defaults() -> None:
    assert summarise(LocalPolicy(), host()) == PolicySummary(
        allow_exec=True,
        default_level="strict",
        levels=("strict",),
        interpreters=INTERPRETERS,
        max_timeout_sec=900,
        max_output_bytes=262_144,
        memory_bytes=512 * MIB,
    )


def test_the_summary_of_a_node_that_runs_nothing_says_why() -> None:
    summary = summarise(LocalPolicy(), host(allow_exec=False))
    assert (summary.allow_exec, summary.refusal, summary.levels) == (False, EXEC_DISABLED, ())


def test_a_level_with_other_interpreters_is_called_uneven() -> None:
    policy = LocalPolicy(levels={Level.NETWORK: LevelRule(allowed=True), Level.LANDLOCK: LevelRule(allowed=True)})
    fewer = {"sh": "/bin/sh"}
    summary = summarise(policy, host(confined_interpreters={**dict.fromkeys(Level, EVERYWHERE), Level.NETWORK: fewer}))
    assert (summary.levels, summary.uneven_levels) == (("strict", "network", "landlock"), ("network",))


def test_scripts_are_told_apart_by_what_policy_says_of_them() -> None:
    rules = {"a" * 64: ScriptRule(), "b" * 64: ScriptRule(allowed=False), "c" * 64: ScriptRule(interpreter="sh")}
    summary = summarise(LocalPolicy(scripts=rules, only_listed_scripts=True), host())
    assert (summary.listed_scripts, summary.forbidden_scripts, summary.ruled_scripts) == (
        ("a" * 64,),
        ("b" * 64,),
        ("c" * 64,),
    )
    assert summary.only_listed_scripts
    assert not summary.lists_cut


def test_long_lists_are_cut_and_say_so() -> None:
    policy = LocalPolicy(scripts={digest(str(number)): ScriptRule() for number in range(MAX_SCRIPTS + 1)})
    summary = summarise(policy, host())
    assert (len(summary.listed_scripts), summary.lists_cut) == (MAX_SCRIPTS, True)


def test_the_owners_bounds_are_told() -> None:
    policy = LocalPolicy(
        bounds=Bounds(max_timeout_s=60, memory_bytes=64 * MIB),
        interpreters={
            "sh": InterpreterRule(bounds=Bounds(max_output_bytes=1000)),
            "node": InterpreterRule(allowed=False),
        },
    )
    summary = summarise(policy, host())
    assert (summary.max_timeout_sec, summary.max_output_bytes, summary.memory_bytes) == (60, 262_144, 64 * MIB)
    assert summary.interpreters == ("sh", "bash", "python3")
