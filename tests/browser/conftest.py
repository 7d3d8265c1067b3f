"""One browser and one fleet for each file of tests, and for each test a page that was signed in to."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.rigs.browser import Fleet, Watched, chromium, fleet, signed_in


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def watched(browser: Browser, served: Fleet) -> Iterator[Watched]:
    with signed_in(browser, served) as at_the_page:
        yield at_the_page
