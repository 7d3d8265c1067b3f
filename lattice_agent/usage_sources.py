"""Which usage sources the settings name, built; and what of the settings readings need beside them.

Code of a source is loaded when it is configured.
"""

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lattice_agent.config import UsageSettings

if TYPE_CHECKING:
    from lattice_agent.usage.ledger import Moment
    from lattice_agent.usage.source import UsageSource

DEFAULT_TIMEOUT_S: Final = 3.0
ASKED_DIRECTLY: Final = "xray"
"""The value of ``usage.xray_bin`` with which no program is run."""


def configured_sources(usage: UsageSettings) -> "tuple[UsageSource, ...]":
    """Every source that is configured. Raises UsageSourceError for a place that must not be asked."""
    timeout_s = usage.timeout_s or DEFAULT_TIMEOUT_S
    sources: list[UsageSource] = []
    if usage.file is not None:
        from lattice_agent.usage.file import FileSource

        sources.append(FileSource(usage.file, timeout_s=timeout_s, max_age_s=usage.file_max_age_s or None))
    if usage.url:
        from lattice_agent.usage.url import LoopbackUrlSource

        sources.append(
            LoopbackUrlSource(
                usage.url, secret=usage.secret or None, secret_file=usage.secret_file, timeout_s=timeout_s
            )
        )
    return (*sources, *_statistics(usage, timeout_s))


def _statistics(usage: UsageSettings, timeout_s: float) -> "list[UsageSource]":
    sources: list[UsageSource] = []
    if usage.xray_bin != ASKED_DIRECTLY:
        from lattice_agent.usage.xray_cli import XrayCliSource

        program, pattern = usage.xray_bin, usage.xray_pattern
        sources += [
            XrayCliSource(address, program=program, pattern=pattern, timeout_s=timeout_s) for address in usage.xray_api
        ]
    elif usage.xray_api:
        from lattice_agent.usage.stats_api import XrayApiSource

        sources += [XrayApiSource(address, timeout_s=timeout_s) for address in usage.xray_api]
    if usage.singbox_stats_api:
        from lattice_agent.usage.stats_api import SingboxStatsSource

        sources += [SingboxStatsSource(address, timeout_s=timeout_s) for address in usage.singbox_stats_api]
    return sources


def legal_names(usage: UsageSettings) -> dict[str, str]:
    """``[usage.ids]``: the core's label of a user to the id that the control plane knows."""
    pairs = (word.rpartition("=") for word in usage.ids)
    return {label.strip(): legal.strip() for label, _, legal in pairs}


def reading_moment() -> "Moment":
    """Now, as restarts of a core are told by: the boot, and CLOCK_MONOTONIC, which nobody can set."""
    from lattice_agent.usage.ledger import Moment

    return Moment(_boot_id(), time.monotonic())


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""  # the same in every life of the agent: no proof of a restart, which is the safe side
