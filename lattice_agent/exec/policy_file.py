"""The policy file: from parsed TOML to ``LocalPolicy``, every key and value checked. Pure.

The format is described in docs/policy.md. Whoever reads the file (and checks that root owns it) is ``config``.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from lattice_agent.errors import PolicyError
from lattice_agent.exec import policy
from lattice_agent.exec.plan import MIB
from lattice_agent.exec.policy import InterpreterRule, LocalPolicy

MAX_LINGER_S: Final = 3600.0
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "max_timeout_s": (1, policy.MAX_TIMEOUT_S),
    "max_output_bytes": (1, policy.MAX_OUTPUT_BYTES),
    "file_bytes": (0, 1 << 50),
    "data_bytes": (16 * MIB, 1 << 50),
    "processes": (1, 1_000_000),
}
"""Keys of ``[limits]`` and what they may be."""
_TOP_KEYS: Final = ("host_linger_s", "allow_agent_replacement", "limits", "interpreters")
_RULE_KEYS: Final = ("allowed", "path")


def parse_policy(data: Mapping[str, object]) -> LocalPolicy:
    """The policy in parsed TOML. Raises PolicyError that names the key, and the nearest valid one if it is unknown."""
    _check_keys("", data, _TOP_KEYS)
    limits = {key: _whole(f"limits.{key}", value) for key, value in _limits_table(data).items()}
    return LocalPolicy(
        interpreters=_interpreters(data),
        host_linger_s=_linger(data["host_linger_s"]) if "host_linger_s" in data else None,
        allow_agent_replacement=_switch("allow_agent_replacement", data.get("allow_agent_replacement", False)),
        **limits,
    )


def _limits_table(data: Mapping[str, object]) -> Mapping[str, object]:
    table = _table("limits", data.get("limits", {}))
    _check_keys("limits.", table, _RANGES)
    return table


def _interpreters(data: Mapping[str, object]) -> dict[str, InterpreterRule]:
    table = _table("interpreters", data.get("interpreters", {}))
    _check_keys("interpreters.", table, policy.INTERPRETERS)
    return {name: _rule(f"interpreters.{name}", value) for name, value in table.items()}


def _rule(key: str, value: object) -> InterpreterRule:
    table = _table(key, value)
    _check_keys(f"{key}.", table, _RULE_KEYS)
    return InterpreterRule(
        allowed=_switch(f"{key}.allowed", table.get("allowed", True)),
        path=_absolute(f"{key}.path", table["path"]) if "path" in table else None,
    )


def _check_keys(prefix: str, table: Mapping[str, object], valid: Iterable[str]) -> None:
    names = list(valid)
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
            raise PolicyError(
                f"policy: unknown key {prefix}{key}; the nearest valid one is {prefix}{near}",
                hint=f"valid here: {', '.join(names)}",
            )


def _table(key: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise PolicyError(f"policy: {key} must be a table, not {value!r}")
    return value


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise PolicyError(f"policy: {key} must be true or false, not {value!r}")
    return value


def _whole(key: str, value: object) -> int:
    low, high = _RANGES[key.removeprefix("limits.")]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise PolicyError(f"policy: {key} must be a whole number from {low} to {high}, not {value!r}")
    return value


def _linger(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_LINGER_S:
        raise PolicyError(f"policy: host_linger_s must be seconds from 0 to {MAX_LINGER_S:.0f}, not {value!r}")
    return float(value)


def _absolute(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise PolicyError(f"policy: {key} must be an absolute path, not {value!r}")
    return value
