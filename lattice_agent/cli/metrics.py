"""``metrics``: what this host does now, as the agent would report it. Rates are over the time between two readings."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lattice_agent.cli.fact_table import group_lines
from lattice_agent.cli.facts import given_root
from lattice_agent.cli.goflags import Flag, FlagError, FlagKind, HelpRequested, parse, usage
from lattice_agent.cli.stream_through import print_whole
from lattice_agent.facts.detail.sampler import DetailSampler
from lattice_agent.facts.look import Look
from lattice_agent.facts.metrics import MetricsSampler
from lattice_agent.facts.rates import MIN_ELAPSED_S
from lattice_agent.facts.rooted import is_live
from lattice_agent.wire.metrics import Metrics
from lattice_agent.wire.metrics_detail import MetricsDetail

PROGRAM: Final = "lattice-agent metrics"
INTERVAL_S: Final = 2.0
FIRST_INTERVAL_S: Final = 1.0
_CLEAR: Final = "\x1b[H\x1b[2J"
FLAGS: Final = (
    Flag("json", FlagKind.BOOL, "Print JSON, one line for each sample."),
    Flag("watch", FlagKind.BOOL, "Go on until interrupted."),
    Flag("interval", FlagKind.DURATION, "Time between two samples, at least 500ms.", "2s, without -watch 1s"),
    Flag("root", FlagKind.STRING, "Directory of a recorded host to read instead of this machine.", "/"),
)


def run(words: Sequence[str], _environ: Mapping[str, str]) -> int:
    """Exit 0, also when a watch is interrupted. Raises FlagError (exit 2) for a wrong call."""
    known = {flag.name: flag for flag in FLAGS}
    try:
        parsed = parse(known, words)
    except HelpRequested:
        sys.stderr.write(usage(PROGRAM, known))
        return os.EX_OK
    watch = bool(parsed.values.get("watch"))
    interval_s = float(str(parsed.values.get("interval", INTERVAL_S if watch else FIRST_INTERVAL_S)))
    root = given_root(parsed)
    if parsed.rest or interval_s < MIN_ELAPSED_S:
        raise FlagError("no words are taken, and an interval of 500ms or more", hint=f"it is {PROGRAM} [--watch]")
    if watch and not is_live(root):
        raise FlagError("a recorded host does not change", hint="leave out --watch or --root")
    told = Teller(root, as_json=bool(parsed.values.get("json")), clears=watch and sys.stdout.isatty())
    try:
        told.first(interval_s)
        while told.next() and watch:
            time.sleep(interval_s)
    except KeyboardInterrupt:
        return os.EX_OK
    return os.EX_OK


class Teller:
    """Takes samples with baselines of its own, and prints them."""

    def __init__(self, root: Path, *, as_json: bool, clears: bool) -> None:
        self._root = root
        self._metrics = MetricsSampler(root)
        self._detail = DetailSampler(root)
        self._as_json = as_json
        self._clears = clears

    def first(self, interval_s: float) -> None:
        """The reading that rates are counted from; a recorded host has only this one."""
        if is_live(self._root):
            self._sample()
            time.sleep(interval_s)

    def next(self) -> bool:
        """One sample, printed; False if nobody reads any more."""
        metrics, detail = self._sample()
        if self._as_json:
            return print_whole(_line(metrics, detail))
        lines = ["metrics", *group_lines(metrics), "", "metrics_detail", *group_lines(detail)]
        return print_whole((_CLEAR if self._clears else "") + "\n".join(lines))

    def _sample(self) -> tuple[Metrics, MetricsDetail]:
        look = Look(self._root)
        now_monotonic = time.monotonic()
        metrics = self._metrics.sample(datetime.now(UTC), now_monotonic, look)
        return metrics, self._detail.sample(look, now_monotonic)


def _line(metrics: Metrics, detail: MetricsDetail) -> str:
    import json

    sent = {"metrics": metrics.model_dump(mode="json"), "metrics_detail": detail.model_dump(mode="json")}
    return json.dumps(sent, ensure_ascii=False)
