import os
from pathlib import Path

import pytest

from lattice_agent.errors import ConfigError
from lattice_agent.secret import Secret
from lattice_agent.usage.local_secret import FILE_LIMIT, load_local_secret


def test_none_is_needed() -> None:
    assert load_local_secret(None, None) is None
    assert load_local_secret(Secret(""), None) is None


def test_it_comes_from_the_setting_or_from_a_file_and_is_trimmed(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" hush-1 \n")
    assert load_local_secret(Secret("hush-1"), None) == load_local_secret(None, file) == Secret("hush-1")


def test_not_from_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both given"):
        load_local_secret(Secret("x"), tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b" \n", "is empty"),
        (b"x" * (FILE_LIMIT + 1), "is longer than 4096 bytes"),
        (b"hush\nhush", "that an HTTP header cannot carry"),
        (b"hush\xff", "that an HTTP header cannot carry"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_not_shown(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_local_secret(None, file)
    assert str(raised.value).startswith(f"-proxy-usage-secret-file {file} ")
    assert reason in str(raised.value)
    assert "hush" not in str(raised.value)


def test_a_file_of_the_full_size_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x" * FILE_LIMIT)
    assert load_local_secret(None, file) == Secret("x" * FILE_LIMIT)


def test_what_is_no_file_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="is not a regular file"):
        load_local_secret(None, tmp_path / "fifo")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_local_secret(None, tmp_path / "missing")
