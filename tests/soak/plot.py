"""The picture of a soak: small charts over the same time, with the faults as marks, drawn by the web page's own code.

It has its own ground and both sets of colours: it is read in a document, light or dark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Final

from server_stub.dashboard.line_charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Frame, LineChart, line_chart
from server_stub.dashboard.scales import Axis, byte_axis, decimal_axis
from tests.soak.samples import Lives
from tests.soak.verdict import thin

MOST_POINTS: Final = 280
"""Of one line: more than a chart has room for."""
COLUMNS: Final = 2
TITLE: Final = 26
GAP: Final = 18
LEGEND: Final = 44
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KIB: Final = 1024.0

STYLE: Final = """
svg { --ground: #ffffff; --text: #1b2330; --muted: #566173; --line: #d5dae1; --strong: #8a94a3;
  --one: #0f6e84; --two: #b1591b; --death: #b02a2a; --trouble: #e9edf2; }
@media (prefers-color-scheme: dark) { svg { --ground: #12161c; --text: #e4e8ee; --muted: #a3aebd; --line: #323c49;
  --strong: #74808f; --one: #5cc0d8; --two: #eba15f; --death: #f39a93; --trouble: #222b36; } }
.ground { fill: var(--ground); } .trouble { fill: var(--trouble); }
text { fill: var(--muted); font: 11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
text.title { fill: var(--text); font-size: 13px; font-weight: 600; }
.rule { stroke: var(--line); } .base { stroke: var(--strong); } .death { stroke: var(--death); stroke-dasharray: 2 2; }
.series { fill: none; stroke-width: 1.6; stroke-linejoin: round; } .one { stroke: var(--one); }
.two { stroke: var(--two); stroke-dasharray: 5 3; }
circle { fill: var(--one); } circle.second { fill: var(--two); }
"""


@dataclass(frozen=True)
class Panel:
    """One chart of one or two lines: (name, who, what)."""

    title: str
    lines: tuple[tuple[str, str, str], ...]
    bytes_each: float = 0.0
    """Of one unit of the samples; 0: these are plain numbers."""
    unit: str = ""


@dataclass(frozen=True)
class Mark:
    """A fault, in seconds. ``kills``: it was the end of a process."""

    since_s: float
    until_s: float
    kills: bool


def _both(kind: str, what: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((node, f"{kind} {node}", what) for node in ("first", "second"))


PANELS: Final = (
    Panel("Memory of the agents (PSS)", _both("agent", "pss_kib"), _KIB),
    Panel("Memory of the control plane (PSS)", (("control plane", "server", "pss_kib"),), _KIB),
    Panel("Memory of the spawners (PSS)", _both("spawner", "pss_kib"), _KIB),
    Panel("Open descriptors of the agents", _both("agent", "fds")),
    Panel("Open descriptors", (("control plane", "server", "fds"), ("first spawner", "spawner first", "fds"))),
    Panel("Threads", (("first agent", "agent first", "threads"), ("control plane", "server", "threads"))),
    Panel("Databases", (("control plane", "server", "used_bytes"), ("first agent", "agent first", "used_bytes")), 1.0),
    Panel("How late", (("health request", "server", "health_s"), ("agent's loop", "agent first", "lag_s")), unit=" s"),
)


def picture(samples: Mapping[tuple[str, str], Lives], marks: Sequence[Mark], seconds: float) -> str:
    """A whole SVG."""
    tall, wide = HEIGHT + TITLE + GAP, WIDTH + GAP
    rows = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * wide + GAP, rows * tall + GAP + LEGEND
    drawn = [
        f'<g transform="translate({GAP + number % COLUMNS * wide} {GAP + number // COLUMNS * tall})">'
        f"{_panel(panel, samples, marks, seconds)}</g>"
        for number, panel in enumerate(PANELS)
    ]
    legend = f'<g transform="translate({GAP + LEFT} {rows * tall + GAP})">{_legend()}</g>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="What agents and control plane used during the soak; docs/soak.md has the figures">\n'
        f'<style>{STYLE}</style>\n<rect class="ground" width="{width}" height="{height}" rx="8"/>\n'
        + "\n".join([*drawn, legend])
        + "\n</svg>\n"
    )


def _panel(panel: Panel, samples: Mapping[tuple[str, str], Lives], marks: Sequence[Mark], seconds: float) -> str:
    series = [
        (place, thin(points, MOST_POINTS))
        for place, (_, who, what) in zip(("one", "two"), panel.lines, strict=False)
        for points in samples.get((who, what), {}).values()
    ]
    most = max((value for _, points in series for _, value in points), default=1.0)
    factor = panel.bytes_each or 1.0
    frame = Frame(_START, _START + timedelta(seconds=seconds), _step(seconds), _axis(panel, most * factor))
    chart = line_chart(
        frame, [(place, [(_moment(at), value * factor) for at, value in points]) for place, points in series]
    )
    names = " ".join(_name(place, name) for place, (name, _, _) in zip(("one", "two"), panel.lines, strict=False))
    return (
        f'<text class="title" x="{LEFT}" y="12">{escape(panel.title)} <tspan dx="8"/>{names}</text>'
        f'<g transform="translate(0 {TITLE})">{_marks(marks, seconds)}{_frame(chart)}{_lines(chart)}</g>'
    )


def _axis(panel: Panel, most: float) -> Axis:
    return byte_axis(most) if panel.bytes_each else decimal_axis(most, panel.unit)


def _step(seconds: float) -> timedelta:
    """Longer than from one sample to the next, thinned or not."""
    return timedelta(seconds=max(30.0, 3 * seconds / MOST_POINTS))


def _moment(at_s: float) -> datetime:
    return _START + timedelta(seconds=at_s)


def _name(place: str, name: str) -> str:
    return (
        f'<tspan style="fill: var(--{place}); font-weight: 400">{"―" if place == "one" else "╌"} {escape(name)}</tspan>'
    )


def _marks(marks: Sequence[Mark], seconds: float) -> str:
    def x(at_s: float) -> float:
        return round(LEFT + at_s / seconds * (WIDTH - LEFT - RIGHT), 1)

    base = HEIGHT - BOTTOM
    troubles = (
        f'<rect class="trouble" x="{x(mark.since_s)}" y="{TOP}" height="{base - TOP}"'
        f' width="{max(1.5, x(mark.until_s) - x(mark.since_s)):.1f}"/>'
        for mark in marks
        if not mark.kills
    )
    deaths = (f'<path class="death" d="M{x(mark.since_s)} {TOP}V{base}"/>' for mark in marks if mark.kills)
    return "".join([*troubles, *deaths])


def _frame(chart: LineChart) -> str:
    rules = (
        f'<path class="{"rule" if number else "base"}" d="M{chart.left} {y}H{chart.right}"/>'
        f'<text x="{chart.left - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
        for number, (y, name) in enumerate(chart.rules)
    )
    moments = (f'<text x="{x}" y="{chart.base + 16}" text-anchor="middle">{name}</text>' for x, name in chart.moments)
    return "".join([*rules, *moments])


def _lines(chart: LineChart) -> str:
    paths = (f'<path class="series {line.name}" d="{line.path}"/>' for line in chart.lines if line.path)
    dots = (
        f'<circle class="{"second" if line.name == "two" else ""}" cx="{x}" cy="{y}" r="1.6"/>'
        for line in chart.lines
        for x, y in line.dots
    )
    return "".join([*paths, *dots])


def _legend() -> str:
    return (
        '<rect class="trouble" width="14" height="12"/><text x="20" y="10">trouble on a wire</text>'
        '<path class="death" d="M150 0V12"/><text x="158" y="10">a process was killed; its line begins anew</text>'
        '<text x="0" y="28">time since the start, in hours and minutes</text>'
    )
