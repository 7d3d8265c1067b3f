"""From flags, environment and file to settings: flags win over environment, environment over file.

``load`` checks each value by itself; ``complete`` adds what only the running agent needs: its identity, the
credentials that stand in files, and one usage source at most. So the one-shot modes do not fail for the lack of a
token, and no credential file is opened before the agent has cleaned its argv and environment.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from lattice_agent.config import unbuilt
from lattice_agent.config.file import NO_FILE, ConfigFile, read_config_file
from lattice_agent.config.golang import quote
from lattice_agent.config.options import Option
from lattice_agent.config.settings import SECTIONS, Settings
from lattice_agent.config.sources import Plain, Value, from_environment, refine
from lattice_agent.config.table import CONFIG, OPTIONS

OFFLINE_AFTER_S = 90  # protocol reference, 1.1
IP_MODES = ("auto", "static", "resolver", "script")


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, how each that was given is known to the operator, and what is to be logged once at start."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]

    def name(self, key: str) -> str:
        """How the operator set ``key``, or would set it: for messages."""
        return self.origins.get(key) or f"-{OPTIONS[key].flag}"


def load(flags: Mapping[str, Plain], environ: Mapping[str, str], *, euid: int) -> Loaded:
    """Merges the sources and checks every value. Reads the configuration file, nothing else. Raises ConfigError."""
    warnings: list[str] = []
    file = _config_file(flags, environ, euid, warnings)
    values: dict[str, dict[str, Value]] = {section: {} for section in SECTIONS}
    origins: dict[str, str] = {}
    for key, option in OPTIONS.items():
        found = _find(key, option, flags, environ, file, warnings)
        if found is not None:
            plain, origin = found
            section, _, name = key.partition(".")
            values[section][name] = refine(option, plain, origin)
            origins[key] = origin
    if not values["state"].get("dir"):
        values["state"]["dir"] = default_state_dir(environ, euid)
    settings = Settings(**{section: cls(**values[section]) for section, cls in SECTIONS.items()})
    for feature, origin in unbuilt.asked_for(flags, environ):
        warnings.append(f"{origin} is set, but {feature.feature} is not built into this agent: it stays off")
    return _settle(Loaded(settings, origins, (*file.warnings, *warnings)))


def _config_file(flags: Mapping[str, Plain], environ: Mapping[str, str], euid: int, warnings: list[str]) -> ConfigFile:
    found = _find("config", CONFIG, flags, environ, NO_FILE, warnings)
    path = refine(CONFIG, *found) if found else None
    return read_config_file(path, OPTIONS, euid=euid) if isinstance(path, Path) else NO_FILE


def _find(
    key: str,
    option: Option,
    flags: Mapping[str, Plain],
    environ: Mapping[str, str],
    file: ConfigFile,
    warnings: list[str],
) -> tuple[Plain, str] | None:
    """The winning value and its origin; None leaves the default."""
    if option.flag in flags:
        return flags[option.flag], f"-{option.flag}"
    return from_environment(option, environ, warnings) or file.values.get(key)


def default_state_dir(environ: Mapping[str, str], euid: int) -> Path:
    """Where state is kept unless told otherwise. Nothing is created, and whether it can be is seen when it is used."""
    from_systemd = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if from_systemd:
        return Path(from_systemd)
    xdg, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if euid != 0 and os.path.isabs(xdg):  # a relative one is to be ignored, by the XDG specification
        return Path(xdg, "lattice-agent")
    if euid != 0 and os.path.isabs(home):
        return Path(home, ".local", "state", "lattice-agent")
    return Path("/var/lib/lattice-agent")


def _settle(loaded: Loaded) -> Loaded:
    """Brings values the Go agent tolerates into the form the components expect."""
    settings, warnings = loaded.settings, list(loaded.warnings)
    plane = settings.control_plane
    plane = dataclasses.replace(plane, base_url=plane.base_url.rstrip("/"))
    addresses, usage = settings.addresses, settings.usage
    if not 0 <= addresses.wg_port <= 65535:
        warnings.append(
            f"{loaded.name('addresses.wg_port')} is {addresses.wg_port}, which is no port; none is reported"
        )
        addresses = dataclasses.replace(addresses, wg_port=0)
    if addresses.mode not in IP_MODES:
        warnings.append(f"{loaded.name('addresses.mode')} is {quote(addresses.mode)}, which acts like auto")
        addresses = dataclasses.replace(addresses, mode="auto")
    if usage.timeout_s == 0:
        usage = dataclasses.replace(usage, timeout_s=3.0)  # as the Go agent reads a literal 0
    if settings.report.interval_s >= OFFLINE_AFTER_S:
        warnings.append(
            f"{loaded.name('report.interval_s')} is {settings.report.interval_s:g} s: "
            f"the control plane shows a node as offline after {OFFLINE_AFTER_S} s"
        )
    settled = dataclasses.replace(settings, control_plane=plane, addresses=addresses, usage=usage)
    return dataclasses.replace(loaded, settings=settled, warnings=tuple(warnings))
