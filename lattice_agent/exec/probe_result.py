"""What a probe of a host comes to: values only, made by ``probe.probe_host``. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lattice_agent.exec.plan import Level
from lattice_agent.exec.protections import NO_GROUPS, SHARED_UID, Lack


@dataclass(frozen=True)
class ProbeResult:
    """One level."""

    level: Level
    reached: bool
    because: str
    """Why not: the step and the operating system's reason, or what was seen instead of a protection."""
    verified: tuple[str, ...] = ()
    """Names of protections that were seen to hold (``protections.PROTECTIONS``)."""
    lacks: tuple[Lack, ...] = ()
    """Those that were not; a level may be reached without the ones that it does not require."""
    features: tuple[str, ...] = ()
    """In the words of ``agent_runtime``, what is missing included (shared-host-uid); not cut to what a server keeps."""
    programs: tuple[str, ...] = ()
    """Paths of interpreters that can be executed inside."""
    calls_tried: bool = False
    """Whether python3 inside could try system calls (``thorough``)."""


@dataclass(frozen=True)
class HostProbe:
    """Every level that has cells; the fields of ``HostState`` that can only be known this way."""

    results: Mapping[Level, ProbeResult]
    kept_groups: tuple[int, ...]
    """Supplementary groups that scripts keep where this process cannot drop them: not at ``drops_groups``."""
    controllers: frozenset[str] = frozenset()
    """cgroup v2 controllers that limit cells."""

    @property
    def reached(self) -> frozenset[Level]:
        """HOST is always among them."""
        return frozenset({Level.HOST, *(level for level, result in self.results.items() if result.reached)})

    @property
    def is_complete(self) -> bool:
        """Whether every level is reached."""
        return all(result.reached for result in self.results.values())

    def or_newer(self, newer: "HostProbe") -> "HostProbe":
        """What was reached stays as it was seen; of the other levels what a later probe of the same host came to."""
        results = {
            level: result if result.reached else newer.results.get(level, result)
            for level, result in self.results.items()
        }
        return replace(newer, results=MappingProxyType(results))

    @property
    def highest(self) -> Level:
        """The strongest that is reached."""
        return max(self.reached, key=lambda level: level.strength)

    @property
    def shared_uid(self) -> frozenset[Level]:
        """Levels at which a script's uid has other processes."""
        shared = (level for level, result in self.results.items() if SHARED_UID in result.features)
        return frozenset({Level.HOST, *shared})

    @property
    def drops_groups(self) -> frozenset[Level]:
        """Levels at which scripts were seen without supplementary groups."""
        return frozenset(level for level, result in self.results.items() if NO_GROUPS in result.verified)

    def features(self, level: Level) -> tuple[str, ...]:
        """What was seen at a level that has cells; nothing at HOST."""
        result = self.results.get(level)
        return result.features if result is not None and result.reached else ()
