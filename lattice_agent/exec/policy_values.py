"""Checks of single values of the policy file. Each takes the dotted key and the value, and raises PolicyError. Pure."""

import difflib
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from lattice_agent.errors import PolicyError

KERNEL: Final = ("/proc", "/sys", "/dev")
HIDDEN: Final = (*KERNEL, "/tmp", "/var/tmp")  # noqa: S108 - names, nothing is opened
"""A cell has its own of these, or none; the host's cannot be granted."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(?:^|_)KEY(?:$|_ID$)", re.IGNORECASE)
_SET_BY_AGENT: Final = frozenset(("PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "PWD"))
_LOADS_CODE: Final = frozenset(
    ("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "IFS", "NODE_OPTIONS", "NODE_PATH", "GLIBC_TUNABLES", "GCONV_PATH")
)
_OF_AGENT: Final = frozenset(("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"))
_PROXIES: Final = frozenset(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"))
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def switch(key: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise PolicyError(f"policy: {key} must be true or false, not {value!r}")
    return value


def whole(low: int, high: int) -> Callable[[str, object], int]:
    """A check for whole numbers from ``low`` to ``high``, both allowed."""

    def check(key: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise PolicyError(f"policy: {key} must be a whole number from {low} to {high}, not {value!r}")
        return value

    return check


def seconds(high: float) -> Callable[[str, object], float]:
    """A check for seconds from 0 to ``high``."""

    def check(key: str, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
            raise PolicyError(f"policy: {key} must be seconds from 0 to {high:.0f}, not {value!r}")
        return float(value)

    return check


def one_of(names: Sequence[str]) -> Callable[[str, object], str]:
    """A check for one of these words."""

    def check(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in names:
            message = f"policy: {key} must be one of {', '.join(names)}, not {value!r}"
            raise PolicyError(
                f"{message}; the nearest is {nearest(value, names)}" if isinstance(value, str) else message
            )
        return value

    return check


def nearest(word: str, names: Iterable[str]) -> str:
    """The valid word that looks most like this one."""
    return difflib.get_close_matches(word, list(names), n=1, cutoff=0.0)[0]


def program(key: str, value: object) -> str:
    """Absolute path of an interpreter."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise PolicyError(f"policy: {key} must be an absolute path, not {value!r}")
    return value


def granted_path(key: str, value: object) -> str:
    """A path of the host that a cell may be given."""
    return _outside(HIDDEN, key, value, hint="a cell has its own of these; put what scripts share elsewhere")


def directory(key: str, value: object) -> str:
    """A directory of the host below which the agent may make others."""
    return _outside(KERNEL, key, value, hint="name a directory on a disk")


def granted_paths(key: str, value: object) -> tuple[str, ...]:
    """A list of such paths."""
    return tuple(dict.fromkeys(granted_path(f"{key}[{index}]", item) for index, item in _items(key, value)))


def variables(key: str, value: object) -> tuple[str, ...]:
    """Names of environment variables that a script may be shown."""
    return tuple(dict.fromkeys(_variable(f"{key}[{index}]", item) for index, item in _items(key, value)))


def sha256(key: str, value: object) -> str:
    """A SHA-256 in hexadecimal, made lower case."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise PolicyError(
            f"policy: {key} must be 64 hexadecimal digits, not {value!r}", hint="sha256sum FILE prints them"
        )
    return value.lower()


def table(key: str, value: object) -> dict[str, object]:
    """A TOML table."""
    if not isinstance(value, dict):
        raise PolicyError(f"policy: {key} must be a table, not {value!r}")
    return value


def tables(key: str, value: object) -> list[object]:
    """An array of tables; what stands in it is checked one by one."""
    if not isinstance(value, list):
        raise PolicyError(f"policy: {key} must be an array of tables, not {value!r}", hint=f"it is written [[{key}]]")
    return value


def _outside(excluded: tuple[str, ...], key: str, value: object, *, hint: str) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise PolicyError(f"policy: {key} must be an absolute path, not {value!r}")
    if value == "/":
        raise PolicyError(f"policy: {key} must be a path below /, not '/'", hint="name the directories that are needed")
    plain = "/" + posixpath.normpath(value).lstrip("/")
    if plain != value:
        raise PolicyError(f"policy: {key} must be a path in its plain form, not {value!r}; write {plain!r}")
    if any(value == place or value.startswith(place + "/") for place in excluded):
        raise PolicyError(f"policy: {key} must be a path outside of {', '.join(excluded)}, not {value!r}", hint=hint)
    return value


def _items(key: str, value: object) -> Iterable[tuple[int, object]]:
    if not isinstance(value, list):
        raise PolicyError(f"policy: {key} must be a list, not {value!r}", hint='it is written ["...", "..."]')
    return enumerate(value)


def _variable(key: str, value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise PolicyError(f"policy: {key} must be the name of an environment variable, not {value!r}")
    if reason := _kept_back(value):
        raise PolicyError(f"policy: {key} must be a variable that scripts may have, not {value!r}", hint=reason)
    return value


def _kept_back(name: str) -> str:
    """Why a script never gets this variable of the agent; "" if it may."""
    if name in _SET_BY_AGENT:
        return "the agent sets it for each task"
    if name.startswith("LATTICE_") or name in _OF_AGENT:
        return "it belongs to the agent, and may hold its token"
    if name.upper() in _PROXIES:
        return "the address of a proxy can hold a password; a script can set it by itself"
    if _SECRET.search(name):
        return "by its name it holds a secret"
    if name.startswith(("LD_", "PYTHON", "BASH_FUNC_")) or name in _LOADS_CODE:
        return "it makes an interpreter load other code"
    return ""
