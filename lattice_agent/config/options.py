"""What a setting is: its kind, the flag and variables it comes from, and who may set it in a file.

A settings class (``config.settings``) declares each field with one of the makers below. The declaration is the
single source for the command line's flag table, the environment, the TOML file, ``-h`` and docs/configuration.md.
"""

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from pathlib import Path

from lattice_agent.secret import Secret

_KEY = "option"  # where a dataclass field's metadata holds its Option


class Kind(enum.Enum):
    """How a value is written, in a flag, a variable and a TOML file."""

    SWITCH = "switch"
    TEXT = "text"
    PATH = "path"
    SECRET = "secret"  # noqa: S105 - a kind of setting, not a credential
    INTEGER = "integer"
    SECONDS = "seconds"
    LIST = "list"
    TABLE = "table"
    """Names of one kind to names of another: ``a=b,c=d`` in flag and variable, a table of texts in the file."""


class Trust(enum.IntEnum):
    """How far a file's content can be trusted, and how far a setting demands it."""

    ANYONE = 0
    OWNER = 1  # only root or the agent's own user can write the file
    ROOT = 2  # only root can write the file


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One setting. ``flag`` is without dashes; ``env`` is "" where the Go agent has no variable."""

    kind: Kind
    doc: str
    flag: str
    env: str = ""
    trust: Trust = Trust.ANYONE
    low: float | None = None
    """Least value of a number, inclusive; seconds for ``Kind.SECONDS``."""
    high: float | None = None
    repeat: bool = False
    """The flag may be given several times and the values add up."""
    bad_env_is_default: bool = False
    """The Go agent falls back to the default when the variable cannot be parsed; so do we, with a warning."""


def switch(doc: str, *, flag: str, env: str, trust: Trust = Trust.ANYONE) -> bool:
    """A boolean, off unless switched on."""
    return dataclasses.field(default=False, metadata={_KEY: Option(Kind.SWITCH, doc, flag, env, trust)})


def text(doc: str, *, flag: str, env: str, default: str = "", trust: Trust = Trust.ANYONE) -> str:
    """A word or line; "" means unset."""
    return dataclasses.field(default=default, metadata={_KEY: Option(Kind.TEXT, doc, flag, env, trust)})


def path(doc: str, *, flag: str, env: str, trust: Trust = Trust.ANYONE) -> Path | None:
    """A file or directory, made absolute; None means unset."""
    return dataclasses.field(default=None, metadata={_KEY: Option(Kind.PATH, doc, flag, env, trust)})


def derived_path(doc: str, *, flag: str, env: str) -> Path:
    """A path that is worked out when nobody sets it, so the field has no default."""
    derived: Path = dataclasses.field(metadata={_KEY: Option(Kind.PATH, doc, flag, env)})
    return derived


def secret(doc: str, *, flag: str, env: str) -> Secret:
    """A credential; an empty one means unset. A file that others can read is warned about."""
    return dataclasses.field(default_factory=lambda: Secret(""), metadata={_KEY: Option(Kind.SECRET, doc, flag, env)})


def integer(
    doc: str,
    *,
    flag: str,
    env: str,
    default: int,
    low: int | None = None,
    high: int | None = None,
    bad_env_is_default: bool = False,
) -> int:
    """A whole number between ``low`` and ``high``, both allowed."""
    option = Option(Kind.INTEGER, doc, flag, env, low=low, high=high, bad_env_is_default=bad_env_is_default)
    return dataclasses.field(default=default, metadata={_KEY: option})


def seconds(
    doc: str, *, flag: str, env: str = "", default: float, low: float, high: float, bad_env_is_default: bool = False
) -> float:
    """A duration: Go syntax in flag and variable, a number of seconds in the file."""
    option = Option(Kind.SECONDS, doc, flag, env, low=low, high=high, bad_env_is_default=bad_env_is_default)
    return dataclasses.field(default=default, metadata={_KEY: option})


def words(doc: str, *, flag: str, env: str, trust: Trust = Trust.ANYONE, repeat: bool = False) -> tuple[str, ...]:
    """A list: separated by commas in flag and variable, an array in the file."""
    return dataclasses.field(default=(), metadata={_KEY: Option(Kind.LIST, doc, flag, env, trust, repeat=repeat)})


def table(doc: str, *, flag: str, env: str, trust: Trust = Trust.ANYONE) -> tuple[str, ...]:
    """Words ``name=other``; the last equals sign is the one between."""
    return dataclasses.field(default=(), metadata={_KEY: Option(Kind.TABLE, doc, flag, env, trust)})


def declared(settings_class: type) -> Iterator[tuple[str, Option, object]]:
    """Name, option and plain default (None if there is none) of each field, in the order they are written."""
    for field in dataclasses.fields(settings_class):
        metadata: Mapping[str, Option] = field.metadata
        yield field.name, metadata[_KEY], None if field.default is dataclasses.MISSING else field.default
