"""Which level a task runs at. Pure.

Three things meet: what the host reaches, what the owner demands and grants, and what the task asks for. The order of
levels is total (strict, network, landlock, host). ``minimum`` bounds what a task gets without a grant; a grant is
either a rule for that very script, or ``allowed = true`` of a level together with a task that asks for it. Level
network is never fallen back to: it gives a script what the stronger and the weaker neighbour may not have.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from lattice_agent.errors import PolicyError
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.local_policy import LocalPolicy, ScriptRule
from lattice_agent.exec.plan import Level, Refusal, RefusalKind

ROOT_REFUSED: Final = "refusing to execute task as root; restart with -allow-root-exec=true to opt in"
LEVEL_NAMES: Final = tuple(level.value for level in reversed(Level))
"""Strongest first."""


@dataclass(frozen=True)
class LevelChoice:
    """A level, and which rule chose it."""

    level: Level
    because: str


def with_min_level(policy: LocalPolicy, given: str) -> LocalPolicy:
    """The policy with ``-min-level`` applied; "" is not given. Of two minima the stricter holds. Raises PolicyError."""
    if not given:
        return policy
    if given not in LEVEL_NAMES:
        near = difflib.get_close_matches(given, LEVEL_NAMES, n=1, cutoff=0.0)[0]
        raise PolicyError(
            f"-min-level must be one of {', '.join(LEVEL_NAMES)}, not {given!r}; the nearest is {near}",
            hint="correct the flag -min-level, the variable LATTICE_MIN_LEVEL or exec.min_level of the configuration",
        )
    levels = [level for level in (policy.min_level, Level(given)) if level is not None]
    return replace(policy, min_level=max(levels, key=lambda level: level.strength))


def minimum(policy: LocalPolicy, host: HostState) -> Level:
    """The weakest level that a task gets without a grant."""
    if policy.min_level is not None:
        return policy.min_level
    return Level.HOST if opted_in_without_file(policy, host) else Level.STRICT


def opted_in_without_file(policy: LocalPolicy, host: HostState) -> bool:
    """Whether this is a root agent as the Go agent knew it: told to run tasks as root, and no more than that."""
    return host.uid == 0 and host.allow_root_exec and not policy.from_file


def root_opt_in_warning(policy: LocalPolicy, host: HostState) -> str | None:
    """What to log at start about a root opt-in that no policy file bounds; None if there is nothing to say."""
    if not opted_in_without_file(policy, host) or default_level(policy, host) != LevelChoice(Level.HOST, _OPT_IN):
        return None
    return (
        "-allow-root-exec=true without a policy file: every task runs at level host, as root and not isolated; "
        "write /etc/lattice-agent/policy.toml (owner root, mode 0644), which says what needs level host, "
        "and start with --policy /etc/lattice-agent/policy.toml; docs/policy.md has an example"
    )


_OPT_IN: Final = "-allow-root-exec=true without a policy file"


def default_level(policy: LocalPolicy, host: HostState) -> LevelChoice | Refusal:
    """The level of a task that asks for none and has no rule of its own."""
    lowest = minimum(policy, host)
    wanted = _wanted(policy, host, lowest)
    problem: Refusal | None = None
    for choice in (wanted, *_fallbacks(host, lowest)):
        refusal = obstacle(choice.level, policy, host)
        if refusal is None:
            return choice
        if choice.level in host.reached:
            problem = problem or refusal
    if host.uid == 0 and not host.allow_root_exec and Level.STRICT not in host.reached:
        return Refusal(RefusalKind.ROOT, ROOT_REFUSED)
    return problem or Refusal(
        RefusalKind.LEVEL,
        f"this node's policy demands level {lowest}, and the node reaches only {_names(host.reached)}: run "
        "lattice-agent doctor on it to see what is missing, or lower min_level in its local policy",
    )


def choose_level(
    asked: Level | None, rule: ScriptRule | None, policy: LocalPolicy, host: HostState
) -> LevelChoice | Refusal:
    """The level of one task: its script's rule or the default, or what it asks for if that is granted."""
    ruled = rule.level if rule else None
    base = _ruled(ruled, policy, host) if ruled else default_level(policy, host)
    if asked is None or (isinstance(base, LevelChoice) and base.level is asked):
        return base
    floor = ruled or (base.level if isinstance(base, LevelChoice) else minimum(policy, host))
    because = _grant(asked, floor, ruled, policy)
    if because is None:
        return Refusal(RefusalKind.LEVEL, _not_granted(asked, ruled))
    return obstacle(asked, policy, host) or LevelChoice(asked, because)


def obstacle(level: Level, policy: LocalPolicy, host: HostState) -> Refusal | None:
    """Why nothing can run at this level here, whoever grants it; None if it can."""
    if policy.level_rule(level).allowed is False:
        return Refusal(
            RefusalKind.LEVEL, f"level {level} is switched off by this node's policy (levels.{level}.allowed = false)"
        )
    if level not in host.reached:
        return Refusal(
            RefusalKind.LEVEL,
            f"this node does not reach level {level}, only {_names(host.reached)}: run lattice-agent doctor on it "
            "to see what is missing",
        )
    if level is Level.HOST:
        return Refusal(RefusalKind.ROOT, ROOT_REFUSED) if host.uid == 0 and not host.allow_root_exec else None
    if host.kept_groups and level not in host.drops_groups and not _groups_allowed(policy, host):
        return Refusal(
            RefusalKind.LEVEL,
            f"scripts would keep the agent's supplementary groups ({', '.join(map(str, host.kept_groups))}): run the "
            "agent without them, or set allow_supplementary_groups = true in its local policy",
        )
    return None


def _groups_allowed(policy: LocalPolicy, host: HostState) -> bool:
    """Where even level host would do, which keeps the groups too, a cell that keeps them is the better choice."""
    return policy.allow_supplementary_groups or minimum(policy, host) is Level.HOST


def _wanted(policy: LocalPolicy, host: HostState, lowest: Level) -> LevelChoice:
    if policy.default_level is not None and policy.default_level.strength >= lowest.strength:
        return LevelChoice(policy.default_level, f"default_level = {policy.default_level}")
    if opted_in_without_file(policy, host) and lowest is Level.HOST:
        return LevelChoice(Level.HOST, _OPT_IN)
    return LevelChoice(Level.STRICT, "the strongest level")


def _fallbacks(host: HostState, lowest: Level) -> Iterable[LevelChoice]:
    for level in reversed(Level):
        if level in host.reached and level.strength >= lowest.strength and level is not Level.NETWORK:
            yield LevelChoice(level, f"the strongest level that this node reaches, at least min_level {lowest}")


def _ruled(level: Level, policy: LocalPolicy, host: HostState) -> LevelChoice | Refusal:
    return obstacle(level, policy, host) or LevelChoice(level, "the rule for this script")


def _grant(asked: Level, floor: Level, ruled: Level | None, policy: LocalPolicy) -> str | None:
    """By which rule the task gets what it asks for; None if by none."""
    stronger = asked.strength >= floor.strength
    if asked is floor or (stronger and (asked is not Level.NETWORK or floor is Level.HOST)):
        return f"asked for, and no weaker than {floor}"
    if policy.level_rule(asked).allowed and (ruled is None or stronger):
        return f"asked for, and levels.{asked}.allowed = true"
    return None


def _not_granted(asked: Level, ruled: Level | None) -> str:
    if ruled is not None:
        return f"the script asks for level {asked}, but this node's policy has a rule for it that says {ruled}"
    return (
        f"the script asks for level {asked}, which this node's policy does not grant; "
        f"levels.{asked}.allowed = true in its local policy would"
    )


def _names(levels: Iterable[Level]) -> str:
    return ", ".join(level.value for level in sorted(levels, key=lambda level: -level.strength))
