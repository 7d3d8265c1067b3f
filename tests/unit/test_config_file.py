"""The TOML file and the policy file: unknown keys, wrong types, and who may have written what."""

import os
from pathlib import Path

import pytest

from lattice_agent.config import load, read_policy, read_trusted_file
from lattice_agent.config.options import Trust
from lattice_agent.config.table import OPTIONS
from lattice_agent.config.trust import judge
from lattice_agent.errors import ConfigError, PolicyError

OTHER_UID = 12345


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file = folder / "agent.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(mode)
    return file


def read(file: Path, *, euid: int | None = None) -> object:
    return load({"config": str(file)}, {"HOME": "/h"}, euid=os.geteuid() if euid is None else euid)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[exec]\nalow_exec = true", "exec.alow_exec", "exec.allow_exec"),
        ("[report]\ninterval = 5", "report.interval", "report.interval_s"),
        ("node_id = 'x'", "node_id", "agent.node_id"),
        ("[exce]\nslots = 3", "exce.slots", "exec.slots"),
        ("[exec.slots]\nx = 3", "exec.slots", None),
        ("[[exec]]\nslots = 3", "exec", None),
    ],
)
def test_an_unknown_key_names_the_nearest(text: str, key: str, nearest: str | None, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(file)
    if nearest:
        assert str(caught.value) == f"unknown key {key} in {file}; the nearest is {nearest}"
    else:
        assert key in str(caught.value)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[exec]\nslots = '2'", 'exec.slots in {file} is "2"; a whole number is expected'),
        ("[exec]\nslots = true", "exec.slots in {file} is true; a whole number is expected"),
        ("[exec]\nslots = 2.0", "exec.slots in {file} is 2.0; a whole number is expected"),
        ("[exec]\nno_exec = 1", "exec.no_exec in {file} is 1; true or false is expected"),
        ("[report]\ninterval_s = '10s'", 'report.interval_s in {file} is "10s"; a number of seconds is expected'),
        ("[report]\ninterval_s = false", "report.interval_s in {file} is false; a number of seconds is expected"),
        ("[addresses]\nresolvers = 'a'", 'addresses.resolvers in {file} is "a"; a list of texts is expected'),
        ("[addresses]\nresolvers = [1]", "addresses.resolvers in {file} is [1]; a list of texts is expected"),
        ("[agent]\ntoken = 12345678", "agent.token in {file} is of another type; a text is expected"),
        ("[agent]\nnode_id = 1979-05-27", None),
    ],
)
def test_a_wrong_type_is_named(line: str, message: str | None, tmp_path: Path) -> None:
    file = write(tmp_path, line)
    with pytest.raises(ConfigError) as caught:
        read(file)
    assert message is None or str(caught.value) == message.format(file=file)
    assert "12345678" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[exec\n", "is not valid TOML: .*line 1"),
        (b"[exec]\nslots = 1\nslots = 2\n", "is not valid TOML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[exec]\nslots = " + b"9" * 5000, "is not valid TOML"),
        (b"[exec]\nslots = " + b"9" * 400, "a whole number is expected"),
        (b"[report]\ninterval_s = " + b"9" * 400, "a number of seconds is expected"),
        (b"a = " + b"[" * 100_000, "is not valid TOML"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1048576 bytes"),
    ],
    ids=["syntax", "twice", "bytes", "5000 digits", "400 digits", "400 digits of seconds", "depth", "size"],
)
def test_a_file_that_is_no_configuration(content: bytes, message: str, tmp_path: Path) -> None:
    file = write(tmp_path, content)
    with pytest.raises(ConfigError, match=message) as caught:
        read(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_that_cannot_be_opened_or_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file or directory"):
        read(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="is not a regular file"):
        read(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read(pipe)


ROOT_ONLY = [key for key, option in OPTIONS.items() if option.trust is Trust.ROOT]


def test_the_security_switches_are_those_of_the_issue() -> None:
    assert ROOT_ONLY == [
        "exec.allow_exec",
        "exec.allow_root_exec",
        "exec.policy_path",
        "exec.min_level",
        "control_plane.allow_insecure_http",
    ]


@pytest.mark.needs_root
@pytest.mark.parametrize("key", ROOT_ONLY)
@pytest.mark.parametrize(
    ("owner", "mode", "reason"),
    [
        (OTHER_UID, 0o600, f"it is owned by uid {OTHER_UID}, not by root"),
        (0, 0o620, "it is writable by its group (mode 0620)"),
        (0, 0o602, "it is writable by everybody (mode 0602)"),
    ],
)
def test_a_security_switch_in_a_file_that_is_not_trusted_is_an_error(
    key: str, owner: int, mode: int, reason: str, tmp_path: Path
) -> None:
    section, _, name = key.partition(".")
    value = "'/p'" if "path" in key else "true"
    file = write(tmp_path, f"[{section}]\n{name} = {value}\n", mode)
    os.chown(file, owner, -1)
    with pytest.raises(ConfigError) as caught:
        read(file, euid=owner)
    assert str(caught.value).startswith(f"{file} may not set {key}: {reason}, and only a file that is owned by root")
    assert f"-{OPTIONS[key].flag}" in caught.value.hint()


@pytest.mark.needs_root
def test_who_commands_the_agent_is_not_taken_from_a_file_that_others_write(tmp_path: Path) -> None:
    text = '[control_plane]\nbase_url = "https://evil.example"\n'
    for owner, mode, euid in ((0, 0o620, 0), (OTHER_UID, 0o600, 0), (OTHER_UID, 0o602, OTHER_UID)):
        file = write(tmp_path, text, mode)
        os.chown(file, owner, -1)
        with pytest.raises(ConfigError, match=r"may not set control_plane\.base_url"):
            read(file, euid=euid)
    os.chown(write(tmp_path, text), OTHER_UID, -1)
    read(file, euid=OTHER_UID)


def test_other_settings_may_stand_in_any_file(tmp_path: Path) -> None:
    read(write(tmp_path, "[exec]\nslots = 3\nno_exec = true\n[report]\ninterval_s = 5\n", 0o666))


def test_a_secret_in_a_file_that_all_can_read_is_warned_about(tmp_path: Path) -> None:
    open_file = write(tmp_path, "[agent]\ntoken = 'abc'\n", 0o644)
    loaded = load({"config": str(open_file)}, {"HOME": "/h"}, euid=os.geteuid())
    assert [("agent.token" in warning, "abc" in warning) for warning in loaded.warnings] == [(True, False)]
    closed = write(tmp_path, "[agent]\ntoken = 'abc'\n", 0o640)
    assert load({"config": str(closed)}, {"HOME": "/h"}, euid=os.geteuid()).warnings == ()


@pytest.mark.parametrize(
    ("owner", "mode", "euid", "trust"),
    [
        (0, 0o644, 0, Trust.ROOT),
        (0, 0o600, 1000, Trust.ROOT),
        (1000, 0o644, 1000, Trust.OWNER),
        (1000, 0o644, 1001, Trust.ANYONE),
        (1000, 0o644, 0, Trust.ANYONE),
        (0, 0o664, 0, Trust.ANYONE),
        (0, 0o646, 0, Trust.ANYONE),
        (1000, 0o660, 1000, Trust.ANYONE),
    ],
)
def test_trust_follows_from_owner_and_mode(owner: int, mode: int, euid: int, trust: Trust) -> None:
    found, reason = judge(owner, 0o100000 | mode, euid)
    assert found is trust
    assert bool(reason) is (trust is not Trust.ROOT)


# --- the policy file -------------------------------------------------------------------------------------------------


@pytest.mark.needs_root
def test_the_policy_is_read_from_a_file_of_root(tmp_path: Path) -> None:
    file = write(tmp_path, "host_linger_s = 120\n", 0o644)
    assert read_policy(file) == {"host_linger_s": 120}


@pytest.mark.needs_root
@pytest.mark.parametrize(("owner", "mode"), [(OTHER_UID, 0o644), (0, 0o664), (0, 0o646)])
def test_a_policy_that_others_can_write_is_refused(owner: int, mode: int, tmp_path: Path) -> None:
    file = write(tmp_path, "", mode)
    os.chown(file, owner, -1)
    with pytest.raises(PolicyError, match=r"policy .* cannot be trusted: it is (owned|writable) by"):
        read_trusted_file(file)


def test_a_policy_that_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "missing", tmp_path, pipe, Path("/dev/zero")):
        with pytest.raises(PolicyError, match=r"^policy: "):
            read_policy(path)


@pytest.mark.needs_root
def test_a_policy_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="larger than 1048576 bytes"):
        read_trusted_file(write(tmp_path, b"#" * (1024 * 1024 + 1)))


@pytest.mark.needs_root
@pytest.mark.parametrize("content", [b"[", b"\xff", b"n = " + b"9" * 5000, b"a = " + b"[" * 100_000])
def test_a_policy_that_is_no_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    file = write(tmp_path, content)
    with pytest.raises(PolicyError, match=rf"^policy {file} is not (valid TOML|UTF-8 text)"):
        read_policy(file)
