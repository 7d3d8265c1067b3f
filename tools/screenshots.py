"""Takes the pictures of docs/screenshots: every page of a control plane that has something to show, light and dark.

The fleet is the one of tests/rigs/demo_fleet.py, but for one node, on which a real agent runs a task meanwhile.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, Page

from tests.rigs.browser import Fleet, chromium, fleet, signed_in
from tests.rigs.demo_fleet import FAN_OUT, prepare

PLACE: Final = Path(__file__).resolve().parent.parent / "docs" / "screenshots"
MOST_BYTES: Final = 150 * 1024
WIDTH: Final = 1280
PHONE: Final = 390, 844
NODE: Final = "build-1"
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
BUILD: Final = r"""#!/bin/sh
# lattice: level=strict
release=lattice-web-2.3.1
step() { printf '\033[1;36m==> %s\033[0m\n' "$1"; }
step "Compiling $release"
for unit in config router session templates; do printf '    \033[32mok\033[0m      %s\n' "$unit"; done
printf '    \033[33mwarning\033[0m legacy: 2 calls of a deprecated function\n'
echo 'legacy.c:118: warning: use of gets is deprecated' >&2
step 'Running 214 tests'
printf '    \033[32m198 passed\033[0m, \033[31m1 failed\033[0m, 15 to go\n'
printf '    \033[38;5;208mretrying\033[0m test_session_survives_restart (2 of 3)\n'
sleep 500
"""


@dataclass(frozen=True)
class Picture:
    """``show`` leads a page to what is seen."""

    name: str
    show: Callable[[Page], object]
    height: int = 800


def main() -> int:
    PLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lattice-pictures-") as name, chromium() as browser:
        place = Path(name)
        place.chmod(0o755)
        with fleet(place, prepare=prepare, node_id=NODE) as served, served.site.agent("-allow-root-exec=false"):
            served.wait_policy()
            running = served.plane.create(served.site.node, BUILD, timeout_sec=600)
            for scheme in SCHEMES:
                take(browser, served, scheme, running)
    too_large = [path.name for path in PLACE.glob("*.png") if path.stat().st_size > MOST_BYTES]
    if too_large:
        print(f"screenshots: larger than {MOST_BYTES // 1024} KiB: {', '.join(too_large)}", file=sys.stderr)
    return bool(too_large)


def take(browser: Browser, served: Fleet, scheme: Literal["light", "dark"], running: str) -> None:
    pictures = (
        Picture("nodes", lambda page: page.goto("/nodes")),
        Picture("node", lambda page: page.goto("/nodes/web-1?range=24h"), 1000),
        Picture("enrol", lambda page: page.goto("/enrol"), 560),
        Picture("tasks", lambda page: page.goto("/tasks"), 860),
        Picture("new-task", write_task, 1480),
        Picture("task", show_fan_out, 1120),
        Picture("task-running", lambda page: show_running(page, running), 1020),
        Picture("usage", lambda page: page.goto("/usage"), 900),
        Picture("audit", lambda page: page.goto("/audit?q=task.")),
        Picture("password", lambda page: page.goto("/password"), 520),
    )
    with signed_in(browser, served, width=WIDTH, scheme=scheme) as watched:
        for picture in pictures:
            save(watched.page, picture, WIDTH, scheme)
        watched.page.get_by_role("button", name="Sign out").click()
        save(watched.page, Picture("sign-in", lambda page: page.wait_for_url("**/login"), 520), WIDTH, scheme)
    width, height = PHONE
    with signed_in(browser, served, width=width, height=height, scheme=scheme) as watched:
        save(watched.page, Picture("phone-nodes", lambda page: page.goto("/nodes"), height), width, scheme)
        show = Picture("phone-task", lambda page: show_running(page, running), height)
        save(watched.page, show, width, scheme)


def save(page: Page, picture: Picture, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": picture.height})
    picture.show(page)
    page.wait_for_load_state("networkidle" if "running" not in picture.name else "load")
    page.screenshot(path=PLACE / f"{picture.name}-{scheme}.png", animations="disabled", caret="hide")


def write_task(page: Page) -> None:
    page.goto("/tasks/new")
    for node_id in ("web-1", "web-2", "db-1"):
        page.get_by_label(node_id).check()
    page.get_by_label("Script").fill("set -eu\nsystemctl is-active nginx\ncurl -fsS http://127.0.0.1/healthz\n")
    page.get_by_text("would refuse").wait_for()
    page.locator("h1").click()


def show_fan_out(page: Page) -> None:
    page.goto("/tasks")
    page.get_by_role("link", name=FAN_OUT).click()
    page.get_by_text("This is the whole output").wait_for()


def show_running(page: Page, task_id: str) -> None:
    page.goto(f"/tasks/{task_id}")
    page.locator(".log").get_by_text("2 of 3").wait_for()


if __name__ == "__main__":
    sys.exit(main())
