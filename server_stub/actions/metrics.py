"""Taking a node's metrics into its history."""

from datetime import datetime

from lattice_agent.wire.metrics import Metrics
from server_stub.rules.metric_history import Step, kept_since, sample_of, start_of_step, with_sample
from server_stub.store.base import Tables


def take_metrics(tables: Tables, node_id: str, metrics: Metrics, now: datetime) -> None:
    """Three rows are written. The old ones are looked for when a step begins: a node has no other time to lose them,
    and in between there are none."""
    sample = sample_of(metrics)
    if sample is None:
        return
    for step in Step:
        start = start_of_step(step, now)
        before = tables.metrics.at(node_id, step, start)
        if before is None:
            # Rows of a time that is still to come are left by a clock that was set back.
            tables.metrics.keep(node_id, step, kept_since(step, now), start)
        tables.metrics.put(node_id, step, with_sample(before, start, sample))
