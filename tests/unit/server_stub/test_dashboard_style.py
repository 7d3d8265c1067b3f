"""The style sheet: what is read can be read, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

from server_stub import dashboard

SHEET = (Path(dashboard.__file__).parent / "static" / "page.css").read_text()
BLOCKS = re.findall(r":root \{(.*?)\n\s*\}", SHEET, re.S)
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in BLOCKS)

TEXT = [
    *((ink, ground) for ink in ("text", "muted", "link") for ground in ("ground", "card", "raised")),
    *((kind, f"{kind}-ground") for kind in ("good", "busy", "idle", "warn", "bad")),
    *(("main-text", ground) for ground in ("main", "main-hover")),
    *(("bad", ground) for ground in ("card", "bad-ground")),
]
SHAPES = [
    *((shape, "card") for shape in ("series-1", "series-2", "line-strong", "focus", "main", "warn", "bad")),
    *(("focus", ground) for ground in ("ground", "raised")),
]


def luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), [(*t, 4.5) for t in TEXT] + [(*s, 3.0) for s in SHAPES])
def test_contrast(colours: dict[str, str], ink: str, ground: str, least: float) -> None:
    assert contrast(colours[ink], colours[ground]) >= least


def test_both_schemes_name_the_same_colours() -> None:
    assert set(LIGHT) == set(DARK)


def test_nothing_comes_from_elsewhere() -> None:
    assert "url(" not in SHEET
    assert "@import" not in SHEET
