"""A new password comes from a file or, twice, from a terminal without echo; it is in no argument and no message."""

import os
from pathlib import Path

import pytest

from tests.unit.server_stub_cli.rig import Control, FakeApi, reply

PASSWORD = "correct horse battery"


def test_a_file_holds_it(control: Control, api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    api.answers(reply({"operator": {"name": "ada"}}))

    ran = control("operator", "password", "ada", "--password-file", str(file))

    assert [(asked.path, asked.body) for asked in api.asked] == [
        ("/api/v1/operators/ada/password", {"password": PASSWORD})
    ]
    assert (ran.code, ran.out, ran.err) == (0, "operator ada has a new password for the web page\n", "")


def test_it_may_be_as_long_as_the_server_takes_whatever_its_characters(
    control: Control, api: FakeApi, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("🔑" * 1_024 + "\r\n")
    api.answers(reply({"operator": {"name": "ada"}}))

    assert control("operator", "password", "ada", "--password-file", str(file)).code == 0
    assert api.asked[0].body == {"password": "🔑" * 1_024}


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (b"too short", os.EX_DATAERR, "has 9 characters; take at least 12"),
        (b"", os.EX_DATAERR, "has 0 characters"),
        (b"x" * 2000, os.EX_DATAERR, "longer than 1,024 characters"),
        (("x" + "é" * 3_000).encode(), os.EX_DATAERR, "longer than 1,024 characters"),
        (b"two lines are\nnot one\n", os.EX_DATAERR, "control characters"),
        (b"\xff" * 20, os.EX_NOINPUT, "not UTF-8"),
        (None, os.EX_NOINPUT, "cannot be read"),
    ],
)
def test_what_is_no_password_is_not_sent(
    control: Control, api: FakeApi, tmp_path: Path, content: bytes | None, code: int, text: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)

    ran = control("operator", "password", "ada", "--password-file", str(file))

    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err
    assert api.asked == []
    assert content is None or not content or content.decode("latin-1") not in ran.err
