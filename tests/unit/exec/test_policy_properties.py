"""Whatever a task wishes and a host reaches: policy is never widened. Any request, any policy, any host."""

import dataclasses
import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import minimum
from lattice_agent.exec.local_policy import (
    INTERPRETERS,
    Bounds,
    InterpreterRule,
    LevelRule,
    LocalPolicy,
    ScriptRule,
)
from lattice_agent.exec.plan import Level, Plan, TaskRequest
from lattice_agent.exec.policy import decide
from lattice_agent.exec.script_header import header_for

BODIES = ("echo a\n", "echo b\n")
LIMIT_OF = {
    "max_timeout_s": "wall_s",
    "max_output_bytes": "output_bytes",
    "memory_bytes": "memory_bytes",
    "processes": "processes",
    "cpu_percent": "cpu_percent",
    "file_bytes": "file_bytes",
    "data_bytes": "data_bytes",
}
PATHS = st.sampled_from([(), ("/srv/a",), ("/srv/b", "/opt")])
SWITCH = st.booleans()
LEVELS = st.sampled_from(Level)


def perhaps(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


bounds = st.builds(Bounds, **{name: perhaps(st.integers(1, 900)) for name in LIMIT_OF})


@st.composite
def requests(draw: st.DrawFn) -> TaskRequest:
    interpreter = draw(st.sampled_from((*INTERPRETERS, "perl")))
    asked = draw(perhaps(LEVELS))
    header = f"{header_for(asked, interpreter)}\n" if asked else ""
    number = st.integers(-(1 << 40), 1 << 40) | st.integers(-5, 1000)
    return TaskRequest("t", "l", interpreter, header + draw(st.sampled_from(BODIES)), draw(number), draw(number))


def asked_by(request: TaskRequest) -> Level | None:
    first = request.script.splitlines()[0]
    return Level(first.partition("level=")[2]) if "level=" in first else None


def digests() -> st.SearchStrategy[str]:
    texts = [head + body for head in ("", *(f"# lattice: level={level}\n" for level in Level)) for body in BODIES]
    return st.sampled_from([hashlib.sha256(text.encode()).hexdigest() for text in texts])


level_rules = st.builds(
    LevelRule,
    allowed=perhaps(SWITCH),
    bounds=bounds,
    environment=st.sampled_from([(), ("LANG",)]),
    network=SWITCH,
    read_only=PATHS,
    writable=PATHS,
)
script_rules = st.builds(
    ScriptRule,
    allowed=SWITCH,
    interpreter=perhaps(st.sampled_from(INTERPRETERS)),
    level=perhaps(LEVELS),
    bounds=bounds,
)
policies = st.builds(
    LocalPolicy,
    from_file=SWITCH,
    min_level=perhaps(LEVELS),
    default_level=perhaps(LEVELS),
    levels=st.dictionaries(LEVELS, level_rules),
    interpreters=st.dictionaries(
        st.sampled_from(INTERPRETERS), st.builds(InterpreterRule, allowed=SWITCH, bounds=bounds)
    ),
    scripts=st.dictionaries(digests(), script_rules, max_size=3),
    only_listed_scripts=SWITCH,
    bounds=bounds,
    host_linger_s=perhaps(st.floats(0, 3600)),
    allow_supplementary_groups=SWITCH,
)
EVERYWHERE = {name: f"/usr/bin/{name}" for name in INTERPRETERS}
hosts = st.builds(
    HostState,
    allow_exec=st.sampled_from([True, True, True, False]),
    allow_root_exec=SWITCH,
    no_exec=st.sampled_from([False, False, False, True]),
    uid=st.sampled_from([0, 1000]),
    interpreters=st.just(EVERYWHERE),
    agent_bin=st.just("/opt/x/lattice-agent"),
    work_root=st.just(None),
    uid_threads=st.just(0),
    reached=st.frozensets(LEVELS).map(lambda levels: levels | {Level.HOST}),
    confined_interpreters=st.just(dict.fromkeys(Level, EVERYWHERE)),
    kept_groups=st.sampled_from([(), (), (4,)]),
    environment=st.just({"LANG": "C", "LATTICE_NODE_TOKEN": "x"}),
)


def rule_for(request: TaskRequest, policy: LocalPolicy) -> ScriptRule | None:
    return policy.scripts.get(hashlib.sha256(request.script.encode()).hexdigest())


@given(requests(), policies, hosts)
def test_nothing_runs_that_a_switch_a_rule_or_a_level_forbids(
    request: TaskRequest, policy: LocalPolicy, host: HostState
) -> None:
    plan = decide(request, policy, host)
    if not isinstance(plan, Plan):
        return
    rule = rule_for(request, policy)
    assert host.allow_exec
    assert not host.no_exec
    assert plan.level in host.reached
    assert plan.interpreter in INTERPRETERS
    assert policy.rule(plan.interpreter).allowed
    assert policy.level_rule(plan.level).allowed is not False
    assert rule is None or (rule.allowed and rule.interpreter in (None, plan.interpreter))
    assert rule is not None or not policy.only_listed_scripts
    assert not (plan.level is Level.HOST and host.uid == 0 and not host.allow_root_exec)


@given(requests(), policies, hosts)
def test_below_the_minimum_runs_only_what_was_granted(
    request: TaskRequest, policy: LocalPolicy, host: HostState
) -> None:
    plan = decide(request, policy, host)
    if isinstance(plan, Plan) and plan.level.strength < minimum(policy, host).strength:
        rule = rule_for(request, policy)
        by_rule = rule is not None and rule.level is not None and rule.level.strength <= plan.level.strength
        by_level = asked_by(request) is plan.level and policy.level_rule(plan.level).allowed
        assert by_rule or by_level


@given(requests(), policies, hosts)
def test_the_hosts_network_is_never_given_unsaid(request: TaskRequest, policy: LocalPolicy, host: HostState) -> None:
    plan = decide(request, policy, host)
    if isinstance(plan, Plan) and plan.level is Level.NETWORK:
        rule = rule_for(request, policy)
        said_by_policy = (
            policy.default_level is Level.NETWORK
            or (rule is not None and rule.level in (Level.NETWORK, Level.HOST))
            or policy.level_rule(Level.NETWORK).allowed
        )
        # asked for by a task that would have run at level host, with the same network and all the rest
        narrowed = asked_by(request) is Level.NETWORK and minimum(policy, host) is Level.HOST
        assert said_by_policy or narrowed


@given(requests(), policies, hosts)
def test_a_task_gets_the_level_that_it_asks_for_or_none(
    request: TaskRequest, policy: LocalPolicy, host: HostState
) -> None:
    plan = decide(request, policy, host)
    if isinstance(plan, Plan) and asked_by(request) is not None:
        assert plan.level is asked_by(request)


@given(requests(), policies, hosts)
def test_no_limit_is_above_the_owners_nor_above_the_tasks(
    request: TaskRequest, policy: LocalPolicy, host: HostState
) -> None:
    plan = decide(request, policy, host)
    if not isinstance(plan, Plan):
        return
    rule = rule_for(request, policy)
    tables = (policy.bounds, policy.level_rule(plan.level).bounds, policy.rule(plan.interpreter).bounds)
    for name, limit in LIMIT_OF.items():
        said = getattr(rule.bounds, name) if rule else None
        maxima = [said] if said is not None else [value for t in tables if (value := getattr(t, name)) is not None]
        assert all(getattr(plan.limits, limit) <= maximum for maximum in maxima), name
    assert plan.limits.wall_s <= (request.timeout_sec if request.timeout_sec > 0 else 30)
    assert plan.limits.output_bytes <= (request.output_limit if request.output_limit > 0 else 65_536)
    assert plan.limits.wall_s <= 900
    assert plan.limits.output_bytes <= 262_144
    assert plan.limits.cpu_s == plan.limits.wall_s + 5


@given(requests(), policies, hosts)
def test_what_a_cell_shows_is_what_its_level_may_show(
    request: TaskRequest, policy: LocalPolicy, host: HostState
) -> None:
    plan = decide(request, policy, host)
    if not isinstance(plan, Plan):
        return
    rule = policy.level_rule(plan.level)
    names = {name for name, _ in plan.environment}
    assert "LATTICE_NODE_TOKEN" not in names
    assert ("LANG" in names) == ("LANG" in rule.environment)
    assert ("LATTICE_AGENT_BIN" in names) == (plan.level is Level.HOST)
    assert plan.linger_s == 0 or plan.level is Level.HOST
    assert (plan.profile is None) == (plan.level is Level.HOST)
    if plan.profile is not None:
        assert plan.profile.level is plan.level
        assert (plan.profile.read_only, plan.profile.writable) == (rule.read_only, rule.writable)
        assert plan.profile.network == (plan.level is Level.LANDLOCK and rule.network)


@given(requests(), policies, hosts, st.sampled_from([*LIMIT_OF]))
def test_one_more_bound_never_gives_more(request: TaskRequest, policy: LocalPolicy, host: HostState, name: str) -> None:
    plan = decide(request, policy, host)
    lower = dataclasses.replace(policy, bounds=dataclasses.replace(policy.bounds, **{name: 1}))
    narrowed = decide(request, lower, host)
    assert isinstance(narrowed, Plan) == isinstance(plan, Plan)
    if isinstance(plan, Plan) and isinstance(narrowed, Plan):
        assert narrowed.level is plan.level
        before = getattr(plan.limits, LIMIT_OF[name])
        assert before is None or getattr(narrowed.limits, LIMIT_OF[name]) <= before
