"""What a heartbeat tells of the host, taken in one look; for the thread that the heartbeat samples in."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lattice_agent.facts.detail.own_cost import OwnLoad
from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.look import Look
from lattice_agent.facts.metrics import MetricsSampler
from lattice_agent.facts.traffic import Selection
from lattice_agent.report.heartbeat import Sample
from lattice_agent.wire.fact import Gap

if TYPE_CHECKING:
    from lattice_agent.facts.detail.sampler import DetailSampler
    from lattice_agent.wire.metrics_detail import MetricsDetail

_ROOT: Final = Path("/")


class HostSampler:
    """The heartbeat's own baselines: nobody else's readings disturb its rates."""

    def __init__(self, selection: Selection, container_variable: str) -> None:
        self._selection = selection
        self._container_variable = container_variable
        self._metrics = MetricsSampler(_ROOT, selection)
        self._detail: DetailSampler | None = None

    def sample(self, load: OwnLoad | None) -> Sample:
        """Facts and metrics as of now, with details if the agent's own ``load`` is given."""
        now, monotonic_s = datetime.now(UTC), time.monotonic()
        look = Look(_ROOT)
        metrics = self._metrics.sample(now, monotonic_s, look)
        missed = self._metrics.disk_problem
        return Sample(
            collect_host_facts(look, now, self._container_variable),
            metrics,
            self._detailed(look, monotonic_s, load, missed) if load else None,
            f"root file system: {missed}" if missed else "",
        )

    def _detailed(self, look: Look, monotonic_s: float, load: OwnLoad, disk_missed: str) -> "MetricsDetail":
        if self._detail is None:
            # Loaded when a control plane wants details.
            from lattice_agent.facts.detail.sampler import DetailSampler

            self._detail = DetailSampler(_ROOT, self._selection)
        detail = self._detail.sample(look, monotonic_s, load)
        gaps = (Gap(family="disk", reason=disk_missed),) if disk_missed else ()
        return detail.model_copy(update={"gaps": gaps})
