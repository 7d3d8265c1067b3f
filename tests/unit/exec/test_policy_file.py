"""From TOML to LocalPolicy: every key is reachable, every wrong one named."""

import re
import tomllib
from pathlib import Path

import pytest

from lattice_agent.errors import PolicyError
from lattice_agent.exec.policy import InterpreterRule, LocalPolicy
from lattice_agent.exec.policy_file import parse_policy

DOCUMENT = Path(__file__).parents[3] / "docs" / "policy.md"


def test_an_empty_file_is_the_default_policy() -> None:
    assert parse_policy({}) == LocalPolicy()


def test_every_key_is_read() -> None:
    text = """
        host_linger_s = 90
        allow_agent_replacement = true
        [limits]
        max_timeout_s = 60
        max_output_bytes = 1000
        file_bytes = 1048576
        data_bytes = 268435456
        processes = 32
        [interpreters.sh]
        path = "/bin/bash"
        [interpreters.node]
        allowed = false
    """
    assert parse_policy(tomllib.loads(text)) == LocalPolicy(
        interpreters={"sh": InterpreterRule(path="/bin/bash"), "node": InterpreterRule(allowed=False)},
        max_timeout_s=60,
        max_output_bytes=1000,
        file_bytes=1048576,
        data_bytes=268435456,
        processes=32,
        host_linger_s=90.0,
        allow_agent_replacement=True,
    )


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("host_linger = 1", "host_linger", "host_linger_s"),
        ("[limit]\nprocesses = 1", "limit", "limits"),
        ("[limits]\nmax_timeout = 1", "limits.max_timeout", "limits.max_timeout_s"),
        ("[interpreters.python]\nallowed = true", "interpreters.python", "interpreters.python3"),
        ("[interpreters.sh]\nallow = true", "interpreters.sh.allow", "interpreters.sh.allowed"),
        ("zzz = 1", "zzz", ""),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(text: str, key: str, nearest: str) -> None:
    with pytest.raises(PolicyError, match=f"unknown key {re.escape(key)}; the nearest valid one is {nearest}"):
        parse_policy(tomllib.loads(text))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("host_linger_s = -1", "host_linger_s"),
        ("host_linger_s = true", "host_linger_s"),
        ("host_linger_s = nan", "host_linger_s"),
        ("host_linger_s = 3601", "host_linger_s"),
        ("allow_agent_replacement = 1", "allow_agent_replacement"),
        ("limits = 3", "limits"),
        ("[limits]\nmax_timeout_s = 901", "limits.max_timeout_s"),
        ("[limits]\nmax_timeout_s = 1.5", "limits.max_timeout_s"),
        ("[limits]\nprocesses = true", "limits.processes"),
        ("[limits]\nmax_output_bytes = 0", "limits.max_output_bytes"),
        ("interpreters = []", "interpreters"),
        ("[interpreters]\nsh = '/bin/sh'", "interpreters.sh"),
        ("[interpreters.sh]\nallowed = 'no'", "interpreters.sh.allowed"),
        ("[interpreters.sh]\npath = 'bash'", "interpreters.sh.path"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(text: str, key: str) -> None:
    with pytest.raises(PolicyError, match=f"policy: {re.escape(key)} must be "):
        parse_policy(tomllib.loads(text))


def test_the_documents_example_is_valid_and_shows_every_key() -> None:
    example = re.search(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example is not None
    data = tomllib.loads(example[1])
    parse_policy(data)
    assert set(data) == {"host_linger_s", "allow_agent_replacement", "limits", "interpreters"}
    assert set(data["limits"]) == {"max_timeout_s", "max_output_bytes", "file_bytes", "data_bytes", "processes"}
