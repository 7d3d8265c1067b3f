"""What the running agent needs: an identity from one place, and credentials of usage sources."""

from pathlib import Path

import pytest

from lattice_agent.config import Loaded, complete, load
from lattice_agent.config.sources import Plain
from lattice_agent.errors import ConfigError

TOKEN = "not-a-real-token-0123456789"


def start(*, variables: tuple[tuple[str, str], ...] = (), **flags: str) -> Loaded:
    dashed: dict[str, Plain] = {name.replace("_", "-"): value for name, value in flags.items()}
    environ = {"HOME": "/home/agent", **dict(variables)}
    return complete(load(dashed, environ, euid=1000))


def start_with_identity(**flags: str) -> Loaded:
    return start(variables=(("LATTICE_NODE_ID", "n1"), ("LATTICE_NODE_TOKEN", TOKEN)), **flags)


def credential(folder: Path, content: bytes, mode: int = 0o600) -> str:
    file = folder / "credential"
    file.write_bytes(content)
    file.chmod(mode)
    return str(file)


def test_node_id_and_token_are_required() -> None:
    with pytest.raises(ConfigError, match="the node id is missing"):
        start(token=TOKEN)
    with pytest.raises(ConfigError, match="the node id is missing"):
        start(node_id="  ", token=TOKEN)
    with pytest.raises(ConfigError, match="the node token is missing") as caught:
        start(node_id="n1")
    assert caught.value.exit_code == 78


def test_the_token_may_stand_in_a_file(tmp_path: Path) -> None:
    result = start(node_id="n1", token_file=credential(tmp_path, f" {TOKEN}\n".encode()))
    assert result.settings.agent.token.reveal() == TOKEN
    assert result.warnings == ()


def test_weak_point_13_a_token_file_that_all_can_read_is_warned_about(tmp_path: Path) -> None:
    file = credential(tmp_path, TOKEN.encode(), 0o604)
    assert start(node_id="n1", token_file=file).warnings == (
        f"token file {file} can be read by every user; chmod 0600 it",
    )


def test_a_token_in_two_places_is_refused(tmp_path: Path) -> None:
    file = credential(tmp_path, b"other")
    with pytest.raises(ConfigError, match="LATTICE_NODE_TOKEN and -token-file are both set"):
        start_with_identity(token_file=file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * 4097, "is larger than 4096 bytes"),
        (b"two words", "holds a character that a credential cannot have"),
        (b"a\r\nX-Evil: 1", "holds a character that a credential cannot have"),
        ("t\u00f6ken".encode(), "holds a character that a credential cannot have"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named_and_not_quoted(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        start(node_id="n1", token_file=credential(tmp_path, content))
    text = content.decode("latin-1").strip()
    assert not text or text not in str(caught.value)


def test_a_token_file_that_is_missing_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*/nothing: No such file"):
        start(node_id="n1", token_file=str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="is not a regular file"):
        start(node_id="n1", token_file="/dev/zero")


def test_a_node_id_with_control_characters_is_refused() -> None:
    with pytest.raises(ConfigError, match="-node-id holds a control character"):
        start(node_id="n\x1b1", token=TOKEN)


def test_text_that_is_not_utf8_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match=r"^-token is not valid UTF-8$"):
        start(node_id="n1", token="s\udcff")
    with pytest.raises(ConfigError, match=r"^-node-id is not valid UTF-8$"):
        start(node_id="n\udcff", token=TOKEN)


def test_several_usage_sources_may_be_set() -> None:
    usage = start_with_identity(proxy_usage_file="/x", proxy_usage_url="http://127.0.0.1/").settings.usage
    assert usage.file is not None
    assert usage.url


@pytest.mark.parametrize("legal", ["-x", "a b", "x" * 129, "é"])
def test_a_name_for_a_user_must_be_one_that_a_control_plane_takes(legal: str) -> None:
    with pytest.raises(ConfigError, match="is no user id of a control plane"):
        start_with_identity(proxy_usage_ids=f"ann@example={legal}")


def test_the_usage_secret_needs_a_url_and_one_place(tmp_path: Path) -> None:
    file = credential(tmp_path, b"from-file\n")
    url = "http://127.0.0.1/"
    assert start_with_identity(proxy_usage_url=url, proxy_usage_secret="x").settings.usage.secret.reveal() == "x"
    usage = start_with_identity(proxy_usage_url=url, proxy_usage_secret_file=file).settings.usage
    assert (usage.secret.reveal(), usage.secret_file) == ("from-file", None)
    with pytest.raises(ConfigError, match="-proxy-usage-secret and -proxy-usage-secret-file are both set"):
        start_with_identity(proxy_usage_url=url, proxy_usage_secret="x", proxy_usage_secret_file=file)
    with pytest.raises(ConfigError, match="-proxy-usage-secret is set without a usage URL"):
        start_with_identity(proxy_usage_secret="x")
    with pytest.raises(ConfigError, match="-proxy-usage-secret-file is set without a usage URL"):
        start_with_identity(proxy_usage_secret_file=file)


def test_no_secret_is_in_the_repr_of_settings() -> None:
    result = start_with_identity(proxy_usage_url="http://127.0.0.1/", proxy_usage_secret="hunter2")
    assert TOKEN not in repr(result)
    assert "hunter2" not in repr(result)
