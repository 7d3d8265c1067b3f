"""Every setting by its dotted key, which is also its place in the TOML file: ``report.interval_s``."""

from collections.abc import Mapping
from typing import Final

from lattice_agent.config.golang import format_seconds
from lattice_agent.config.options import Kind, Option, declared
from lattice_agent.config.settings import SECTIONS

OPTIONS: Final[Mapping[str, Option]] = {
    f"{section}.{name}": option for section, cls in SECTIONS.items() for name, option, _ in declared(cls)
}
DEFAULTS: Final[Mapping[str, object]] = {
    f"{section}.{name}": default for section, cls in SECTIONS.items() for name, _, default in declared(cls)
}

CONFIG: Final = Option(Kind.PATH, "Configuration file (TOML).", "config", "LATTICE_CONFIG")
"""The one option that is not a setting: where settings come from."""


def shown_default(key: str) -> str:
    """The default of a setting as a human writes it; "" for none, off, and those that are worked out."""
    default = DEFAULTS[key]
    if not isinstance(default, str | int | float) or not default:
        return ""
    return format_seconds(default) if isinstance(default, float) else str(default)
