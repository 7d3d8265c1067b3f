"""Which level a task gets: what the host reaches, the owner demands and grants, and the task asks for."""

import dataclasses
from typing import Any

import pytest

from lattice_agent.errors import PolicyError
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import (
    ROOT_REFUSED,
    LevelChoice,
    choose_level,
    default_level,
    minimum,
    root_opt_in_warning,
    with_min_level,
)
from lattice_agent.exec.local_policy import LevelRule, LocalPolicy, ScriptRule
from lattice_agent.exec.plan import Level, Refusal, RefusalKind

S, N, L, H = Level.STRICT, Level.NETWORK, Level.LANDLOCK, Level.HOST
USER = HostState(
    allow_exec=True,
    allow_root_exec=False,
    no_exec=False,
    uid=1000,
    interpreters={},
    agent_bin="",
    work_root=None,
    uid_threads=None,
)
ROOT = dataclasses.replace(USER, uid=0)
OPTED_IN = dataclasses.replace(ROOT, allow_root_exec=True)
FILE = LocalPolicy(from_file=True)
ALL = frozenset(Level)
NO_NAMESPACES = frozenset({L, H})
NOTHING = frozenset({H})


def reaching(host: HostState, levels: frozenset[Level]) -> HostState:
    return dataclasses.replace(host, reached=levels)


def told(choice: LevelChoice | Refusal) -> object:
    """The level, or the kind of refusal."""
    return choice.level if isinstance(choice, LevelChoice) else choice.kind


def test_the_order_of_strength() -> None:
    assert [level.strength for level in (H, L, N, S)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("host", "reached", "policy", "expected"),
    [
        # an ordinary user
        (USER, ALL, LocalPolicy(), S),
        (USER, NO_NAMESPACES, LocalPolicy(), RefusalKind.LEVEL),
        (USER, NOTHING, LocalPolicy(), RefusalKind.LEVEL),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=L), L),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=H), L),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=N), RefusalKind.LEVEL),
        (USER, NOTHING, LocalPolicy(min_level=L), RefusalKind.LEVEL),
        (USER, NOTHING, LocalPolicy(min_level=H), H),
        (USER, ALL, LocalPolicy(min_level=H), S),
        # network is no fallback
        (USER, frozenset({N, L, H}), LocalPolicy(min_level=N), RefusalKind.LEVEL),
        (USER, frozenset({N, L, H}), LocalPolicy(min_level=H), L),
        # the opt-in means nothing without root
        (dataclasses.replace(USER, allow_root_exec=True), NOTHING, LocalPolicy(), RefusalKind.LEVEL),
        # root without the opt-in: cells have an unprivileged uid, host never
        (ROOT, ALL, LocalPolicy(), S),
        (ROOT, NO_NAMESPACES, LocalPolicy(), RefusalKind.ROOT),
        (ROOT, NOTHING, LocalPolicy(), RefusalKind.ROOT),
        (ROOT, NOTHING, LocalPolicy(min_level=H), RefusalKind.ROOT),
        (ROOT, NO_NAMESPACES, LocalPolicy(min_level=L), L),
        (ROOT, ALL, LocalPolicy(min_level=H, default_level=H), S),
        # root with the opt-in and no file: as with the Go agent
        (OPTED_IN, ALL, LocalPolicy(), H),
        (OPTED_IN, NOTHING, LocalPolicy(), H),
        (OPTED_IN, ALL, LocalPolicy(min_level=H), H),  # the flag -min-level
        (OPTED_IN, ALL, LocalPolicy(min_level=S), S),
        (OPTED_IN, NO_NAMESPACES, LocalPolicy(min_level=L), L),
        (OPTED_IN, NOTHING, LocalPolicy(min_level=S), RefusalKind.LEVEL),
        # root with the opt-in and a file: the file decides
        (OPTED_IN, ALL, FILE, S),
        (OPTED_IN, NOTHING, FILE, RefusalKind.LEVEL),
        (OPTED_IN, NOTHING, dataclasses.replace(FILE, min_level=H), H),
        (OPTED_IN, ALL, dataclasses.replace(FILE, min_level=H), S),
        (OPTED_IN, ALL, dataclasses.replace(FILE, min_level=H, default_level=H), H),
        # default_level
        (USER, ALL, LocalPolicy(default_level=S), S),
        (USER, ALL, LocalPolicy(min_level=N, default_level=N), N),
        (USER, ALL, LocalPolicy(min_level=L, default_level=N), N),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=L, default_level=N), L),
        (USER, frozenset({S, H}), LocalPolicy(min_level=L, default_level=L), S),
        (USER, ALL, LocalPolicy(min_level=S, default_level=H), S),  # the flag -min-level above the file's default
        # levels switched off
        (USER, ALL, LocalPolicy(levels={S: LevelRule(allowed=False)}), RefusalKind.LEVEL),
        (USER, ALL, LocalPolicy(min_level=H, levels={S: LevelRule(allowed=False)}), L),
        (USER, ALL, LocalPolicy(min_level=H, levels={S: LevelRule(allowed=False), L: LevelRule(allowed=False)}), H),
        (ROOT, ALL, LocalPolicy(levels={S: LevelRule(allowed=False)}), RefusalKind.LEVEL),  # the opt-in is no remedy
        # what tasks may ask for is not what they get unasked
        (USER, NO_NAMESPACES, LocalPolicy(levels={L: LevelRule(allowed=True)}), RefusalKind.LEVEL),
    ],
)
def test_the_level_of_a_task_that_asks_for_none(
    host: HostState, reached: frozenset[Level], policy: LocalPolicy, expected: object
) -> None:
    host = reaching(host, reached)
    assert told(default_level(policy, host)) == expected
    assert choose_level(None, None, policy, host) == default_level(policy, host)


MAY_ASK = {level: LocalPolicy(levels={level: LevelRule(allowed=True)}) for level in Level}


@pytest.mark.parametrize(
    ("host", "reached", "policy", "asked", "expected"),
    [
        # the default, and less without a grant
        (USER, ALL, LocalPolicy(), S, S),
        (USER, ALL, LocalPolicy(), N, RefusalKind.LEVEL),
        (USER, ALL, LocalPolicy(), L, RefusalKind.LEVEL),
        (USER, ALL, LocalPolicy(), H, RefusalKind.LEVEL),
        (USER, ALL, LocalPolicy(min_level=H), H, RefusalKind.LEVEL),
        (USER, ALL, LocalPolicy(min_level=H), N, RefusalKind.LEVEL),
        # a grant goes below the minimum, for the task that asks
        (USER, ALL, MAY_ASK[N], N, N),
        (USER, ALL, MAY_ASK[L], L, L),
        (USER, ALL, MAY_ASK[H], H, H),
        (USER, ALL, MAY_ASK[H], L, RefusalKind.LEVEL),
        (USER, NOTHING, MAY_ASK[H], H, H),
        (USER, NOTHING, MAY_ASK[H], S, RefusalKind.LEVEL),
        # not reached
        (USER, NO_NAMESPACES, MAY_ASK[N], N, RefusalKind.LEVEL),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=L), S, RefusalKind.LEVEL),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=L), L, L),
        # narrowing needs no grant; the network does, but where the script would have it anyway
        (OPTED_IN, ALL, LocalPolicy(), S, S),
        (OPTED_IN, ALL, LocalPolicy(), L, L),
        (OPTED_IN, ALL, LocalPolicy(), N, N),
        (OPTED_IN, ALL, LocalPolicy(), H, H),
        (USER, ALL, LocalPolicy(min_level=L, default_level=L), S, S),
        (USER, ALL, LocalPolicy(min_level=L, default_level=L), N, RefusalKind.LEVEL),
        (USER, ALL, LocalPolicy(min_level=N, default_level=N), N, N),
        # switched off
        (OPTED_IN, ALL, LocalPolicy(levels={S: LevelRule(allowed=False)}), S, RefusalKind.LEVEL),
        # root
        (ROOT, ALL, MAY_ASK[H], H, RefusalKind.ROOT),
        (ROOT, ALL, MAY_ASK[N], N, N),
        (ROOT, NO_NAMESPACES, MAY_ASK[L], L, L),
        (ROOT, NO_NAMESPACES, LocalPolicy(), L, RefusalKind.LEVEL),
    ],
)
def test_the_level_of_a_task_that_asks(
    host: HostState, reached: frozenset[Level], policy: LocalPolicy, asked: Level, expected: object
) -> None:
    assert told(choose_level(asked, None, policy, reaching(host, reached))) == expected


@pytest.mark.parametrize(
    ("host", "reached", "policy", "ruled", "asked", "expected"),
    [
        # the rule grants what the minimum does not, and demands what the default does not
        (USER, ALL, LocalPolicy(), H, None, H),
        (USER, ALL, LocalPolicy(), N, None, N),
        (OPTED_IN, ALL, LocalPolicy(), S, None, S),
        (USER, ALL, LocalPolicy(), None, None, S),
        # not reached, not allowed: no other level in its place
        (USER, NO_NAMESPACES, LocalPolicy(min_level=H), N, None, RefusalKind.LEVEL),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=H), S, None, RefusalKind.LEVEL),
        (ROOT, ALL, LocalPolicy(), H, None, RefusalKind.ROOT),
        # it may ask for more, not for less
        (USER, ALL, LocalPolicy(), H, S, S),
        (USER, ALL, LocalPolicy(), H, N, N),
        (USER, ALL, LocalPolicy(), L, N, RefusalKind.LEVEL),
        (USER, ALL, MAY_ASK[N], L, N, N),
        (USER, ALL, MAY_ASK[L], S, L, RefusalKind.LEVEL),
        (USER, NO_NAMESPACES, LocalPolicy(min_level=L), S, L, RefusalKind.LEVEL),
        (USER, ALL, LocalPolicy(), N, N, N),
        (USER, NO_NAMESPACES, LocalPolicy(), N, N, RefusalKind.LEVEL),
    ],
)
def test_the_level_of_a_script_with_a_rule(
    host: HostState,
    reached: frozenset[Level],
    policy: LocalPolicy,
    ruled: Level | None,
    asked: Level | None,
    expected: object,
) -> None:
    rule = ScriptRule(level=ruled)
    assert told(choose_level(asked, rule, policy, reaching(host, reached))) == expected


@pytest.mark.parametrize(
    ("policy", "kept", "expected"),
    [
        (LocalPolicy(), (4, 27), RefusalKind.LEVEL),
        (LocalPolicy(), (), S),
        (LocalPolicy(allow_supplementary_groups=True), (4, 27), S),
        (LocalPolicy(min_level=L), (4,), RefusalKind.LEVEL),
        (LocalPolicy(min_level=H), (4,), S),  # host would keep them too, so the cell is better
    ],
)
def test_groups_that_cannot_be_dropped_are_refused_unless_the_owner_allows_them(
    policy: LocalPolicy, kept: tuple[int, ...], expected: object
) -> None:
    choice = default_level(policy, dataclasses.replace(reaching(USER, ALL), kept_groups=kept))
    assert told(choice) == expected
    if isinstance(choice, Refusal):
        assert ", ".join(map(str, kept)) in choice.reason
        assert "allow_supplementary_groups = true" in choice.reason


@pytest.mark.parametrize(
    ("policy", "asked", "expected"),
    [
        (LocalPolicy(), None, S),
        (LocalPolicy(levels={L: LevelRule(allowed=True)}), L, RefusalKind.LEVEL),
        (LocalPolicy(levels={L: LevelRule(allowed=True)}, allow_supplementary_groups=True), L, L),
        (LocalPolicy(min_level=L), None, S),
    ],
)
def test_levels_whose_cells_have_no_groups_need_no_permission(
    policy: LocalPolicy, asked: Level | None, expected: object
) -> None:
    host = dataclasses.replace(reaching(USER, ALL), kept_groups=(4, 27), drops_groups=frozenset({S, N}))
    assert told(choose_level(asked, None, policy, host)) == expected


def test_a_refusal_names_what_is_reached_what_is_demanded_and_what_to_do() -> None:
    refused = default_level(LocalPolicy(min_level=N), reaching(USER, NO_NAMESPACES))
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith(
        "this node's policy demands level network, and the node reaches only landlock, host"
    )
    assert "lattice-agent doctor" in refused.reason
    assert "min_level" in refused.reason


def test_refusals_of_a_wish_name_the_key_that_would_grant_it_or_the_one_that_forbids_it() -> None:
    host = reaching(USER, ALL)
    asked = choose_level(N, None, LocalPolicy(), host)
    assert isinstance(asked, Refusal)
    assert "levels.network.allowed = true" in asked.reason
    off = choose_level(S, None, LocalPolicy(levels={S: LevelRule(allowed=False)}), host)
    assert isinstance(off, Refusal)
    assert "levels.strict.allowed = false" in off.reason
    ruled = choose_level(L, ScriptRule(level=S), LocalPolicy(), host)
    assert isinstance(ruled, Refusal)
    assert "has a rule for it that says strict" in ruled.reason


def test_root_is_refused_in_the_words_of_the_protocol() -> None:
    assert default_level(LocalPolicy(), ROOT) == Refusal(RefusalKind.ROOT, ROOT_REFUSED)
    assert ROOT_REFUSED == "refusing to execute task as root; restart with -allow-root-exec=true to opt in"


# --- -min-level ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_file", "flag", "expected"),
    [
        (None, "", None),
        (None, "host", H),
        (L, "", L),
        (L, "strict", S),
        (S, "host", S),
        (H, "landlock", L),
        (N, "network", N),
    ],
)
def test_of_the_flag_and_the_file_the_stricter_minimum_holds(
    of_file: Level | None, flag: str, expected: Level | None
) -> None:
    assert with_min_level(LocalPolicy(min_level=of_file), flag).min_level is expected


@pytest.mark.parametrize("word", ["Strict", "hosts", "none"])
def test_a_level_that_does_not_exist_is_named_with_the_nearest(word: str) -> None:
    with pytest.raises(PolicyError, match=f"-min-level must be one of .*, not '{word}'; the nearest is "):
        with_min_level(LocalPolicy(), word)


# --- the warning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "host", "warned"),
    [
        (LocalPolicy(), OPTED_IN, True),
        (LocalPolicy(min_level=H), OPTED_IN, True),
        (LocalPolicy(min_level=S), reaching(OPTED_IN, ALL), False),
        (FILE, OPTED_IN, False),
        (LocalPolicy(), ROOT, False),
        (LocalPolicy(), dataclasses.replace(USER, allow_root_exec=True), False),
    ],
)
def test_a_root_opt_in_without_a_file_is_warned_about(policy: LocalPolicy, host: HostState, warned: bool) -> None:
    warning = root_opt_in_warning(policy, host)
    assert (warning is not None) == warned
    if warning:
        assert "/etc/lattice-agent/policy.toml" in warning
        assert "--policy" in warning


def test_the_minimum_without_a_word_of_the_owner() -> None:
    expected: list[tuple[Any, Level]] = [(USER, S), (ROOT, S), (OPTED_IN, H)]
    for host, level in expected:
        assert minimum(LocalPolicy(), host) is level
        assert minimum(FILE, host) is S
