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


def configured_sources(usage: UsageSettings) -> "tuple[UsageSource, ...]":
    """Every source that is configured. Raises UsageSourceError for a place that must not be asked."""
    timeout_s = usage.timeout_s or DEFAULT_TIMEOUT_S
    sources: list[UsageSource] = []
    if usage.file is not None:
        from lattice_agent.usage.file import FileSource

        sources.append(FileSource(usage.file, timeout_s=timeout_s))
    if usage.url:
        from lattice_agent.usage.url import LoopbackUrlSource

        sources.append(
            LoopbackUrlSource(
                usage.url, secret=usage.secret or None, secret_file=usage.secret_file, timeout_s=timeout_s
            )
        )
    return tuple(sources)


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
