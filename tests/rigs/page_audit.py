"""Whether a page can be used by those who do not see it, see it badly, or have no mouse; measured in the browser."""

from pathlib import Path
from typing import Final

from playwright.sync_api import Page

_AUDIT: Final = Path(__file__).with_suffix(".js").read_text()
_MOST_TABS: Final = 400
_CONTROLS: Final = """() => {
    const kinds = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
    const isThere = one => one.checkVisibility({ checkVisibilityCSS: true }) && !one.disabled;
    window.controls = [...document.querySelectorAll(kinds)].filter(isThere);
    window.reached = new Set();
    return controls.length;
}"""
_WHERE: Final = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const box = at.getBoundingClientRect();
    const isNone = at === document.body;
    const again = reached.has(at);
    if (!isNone) reached.add(at);
    const isMarked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const isInView = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    return [again, isNone || isMarked && isInView, at.outerHTML.slice(0, 120)];
}"""
_LEFT: Final = "() => controls.filter(one => !reached.has(one)).map(one => one.outerHTML.slice(0, 120))"


def faults(page: Page, path: str) -> list[str]:
    """What is wrong with the page once everything on it is open."""
    page.goto(path)
    return faults_here(page)


def faults_here(page: Page) -> list[str]:
    """The same of the page that is shown."""
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    found: list[str] = page.evaluate(_AUDIT)
    return found


def unreached(page: Page) -> list[str]:
    """Controls to which the Tab key does not lead, and those on which one does not see that it did."""
    wrong = []
    assert page.evaluate(_CONTROLS) < _MOST_TABS
    for _ in range(_MOST_TABS):
        # Out of the editor, in which Tab indents; anywhere else Escape does nothing.
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
        is_round, is_seen, element = page.evaluate(_WHERE)
        if is_round:
            break
        if not is_seen:
            wrong.append(f"not seen: {element}")
    return wrong + [f"not reached: {element}" for element in page.evaluate(_LEFT)]
