"""What the node's owner allows, in short, for a control plane that wants to know before it sends a task. Pure.

Everything here is asked of the code that decides on tasks (``exec.policy.agree``), once for each interpreter and level,
so a summary cannot say anything else than the decision. What it cannot say it declares (docs/protocol.md,
``policy.summary``): scripts with a rule that names a level or an interpreter, and levels at which other interpreters
are there than at the default one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.local_policy import INTERPRETERS, LocalPolicy, ScriptRule
from lattice_agent.exec.plan import Level, Refusal, RefusalKind
from lattice_agent.exec.policy import Ask, Terms, agree
from lattice_agent.wire.policy import MAX_SCRIPTS, PolicySummary

_AS_MUCH_AS_THERE_IS: Final = 1 << 40
"""A wish above every bound: what is granted of it is the bound."""
_NO_SCRIPT: Final = ""
"""No SHA-256: of a script without a rule."""
_LONGEST_REFUSAL: Final = 512


def summarise(policy: LocalPolicy, host: HostState) -> PolicySummary:
    """The summary of a policy on a host. Costs about 20 decisions."""
    unlisted = replace(policy, only_listed_scripts=False)
    asked: dict[Level | None, dict[str, Terms | Refusal]] = {
        level: {name: agree(_ask(name, level), unlisted, host) for name in INTERPRETERS}
        for level in (None, *reversed(Level))
    }
    levels = [level for level in reversed(Level) if _granted(asked[level].values())]
    default = _level_of(asked[None].values())
    reference = None if default else levels[0] if levels else None
    listed, ruled, forbidden = _scripts(policy.scripts)
    terms = [found for level in (None, *levels) for found in asked[level].values() if isinstance(found, Terms)]
    return PolicySummary(
        allow_exec=host.allow_exec and not host.no_exec,
        refusal="" if levels or default else _why(asked[None].values())[:_LONGEST_REFUSAL],
        default_level=default.value if default else "",
        levels=tuple(level.value for level in levels),
        interpreters=_there(asked[reference]),
        uneven_levels=tuple(level.value for level in levels if _there(asked[level]) != _there(asked[reference])),
        only_listed_scripts=policy.only_listed_scripts,
        listed_scripts=tuple(listed[:MAX_SCRIPTS]),
        ruled_scripts=tuple(ruled[:MAX_SCRIPTS]),
        forbidden_scripts=tuple(forbidden[:MAX_SCRIPTS]),
        lists_cut=any(len(digests) > MAX_SCRIPTS for digests in (listed, ruled, forbidden)),
        max_timeout_sec=max((int(found.limits.wall_s) for found in terms), default=0),
        max_output_bytes=max((found.limits.output_bytes for found in terms), default=0),
        memory_bytes=max((found.limits.memory_bytes for found in terms if found.profile is not None), default=0),
    )


def _ask(interpreter: str, level: Level | None) -> Ask:
    return Ask(interpreter, _NO_SCRIPT, level, _AS_MUCH_AS_THERE_IS, _AS_MUCH_AS_THERE_IS)


def _granted(decisions: Iterable[Terms | Refusal]) -> bool:
    """Whether the level is what some interpreter may have; one that is missing there is not the level's fault."""
    return any(isinstance(found, Terms) or found.kind is RefusalKind.INTERPRETER_MISSING for found in decisions)


def _level_of(decisions: Iterable[Terms | Refusal]) -> Level | None:
    return next((found.choice.level for found in decisions if isinstance(found, Terms)), None)


def _there(decisions: Mapping[str, Terms | Refusal]) -> tuple[str, ...]:
    return tuple(name for name, found in decisions.items() if isinstance(found, Terms))


def _why(decisions: Iterable[Terms | Refusal]) -> str:
    return next((found.reason for found in decisions if isinstance(found, Refusal)), "")


def _scripts(rules: Mapping[str, ScriptRule]) -> tuple[list[str], list[str], list[str]]:
    """Digests of scripts that are listed and no more, that have a rule which says more, and that are forbidden."""
    allowed = {digest: rule for digest, rule in sorted(rules.items()) if rule.allowed}
    says_more = {digest: bool(rule.level or rule.interpreter) for digest, rule in allowed.items()}
    listed = [digest for digest, more in says_more.items() if not more]
    ruled = [digest for digest, more in says_more.items() if more]
    return listed, ruled, sorted(rules.keys() - allowed.keys())
