"""A script is checked before anything is sent."""

import io
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from server_stub.cli.errors import InputError, RequestRefusedError
from server_stub.cli.script import read_script, whole_timeout


def test_a_file_and_standard_input_are_read_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = "printf 'é\\r\n'\x00\n"
    (tmp_path / "s").write_bytes(raw.encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw.encode())))

    assert read_script(str(tmp_path / "s")) == read_script("-") == raw


def test_the_limit_counts_bytes_of_utf8(tmp_path: Path) -> None:
    (tmp_path / "fits").write_text("é" * 32_768)
    (tmp_path / "over").write_text("é" * 32_768 + "a")

    assert len(read_script(str(tmp_path / "fits")).encode()) == 65_536
    with pytest.raises(RequestRefusedError, match=r"over' is larger than 65536 bytes"):
        read_script(str(tmp_path / "over"))


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(RequestRefusedError, match="larger than 65536"):
        read_script("/dev/zero")


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", "\u3000\n".encode()])
def test_a_blank_script_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(RequestRefusedError, match="blank"):
        read_script(str(tmp_path / "s"))


def test_a_script_that_is_not_utf8_is_refused_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"echo \xff")
    with pytest.raises(RequestRefusedError, match=r"not UTF-8: byte 0xff at offset 5"):
        read_script(str(tmp_path / "s"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read_script(str(path))


def test_the_timeout_is_whole_seconds_within_the_limits() -> None:
    assert [whole_timeout(Fraction(n)) for n in (1, 600)] == [1, 600]
    for wrong in (Fraction(0), Fraction(601), Fraction(3, 2), Fraction(10**40)):
        with pytest.raises(RequestRefusedError, match="--timeout is"):
            whole_timeout(wrong)
