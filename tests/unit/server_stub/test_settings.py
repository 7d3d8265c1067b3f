"""Settings of ``serve``."""

import pytest

from server_stub.config import Settings
from server_stub.errors import SettingsError


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"db_path": ""}, "db path is empty"),
        ({"db_path": "x", "port": 65_536}, "port is 65536"),
        ({"db_path": "x", "port": -1}, "port is -1"),
        ({"db_path": "x", "tls_cert": "c"}, "tls key is missing"),
        ({"db_path": "x", "tls_key": "k"}, "tls certificate is missing"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError, match=text) as wrong:
        Settings(**settings)  # type: ignore[arg-type]  # fields by name
    assert wrong.value.exit_code == 78
    assert wrong.value.hint()


def test_tls_needs_both_files() -> None:
    assert Settings(db_path="x", tls_cert="c", tls_key="k").tls
    assert not Settings(db_path="x").tls
