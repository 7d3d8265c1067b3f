"""The fake operator API and the command that is pointed at it."""

from collections.abc import Iterator

import pytest

from tests.unit.server_stub_cli.rig import TOKEN, Control, FakeApi, fake_api


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as fake:
        yield fake


@pytest.fixture
def control(api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Control:
    return Control(monkeypatch, capsys, api.url, TOKEN)
