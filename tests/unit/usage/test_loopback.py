import pytest

from lattice_agent.errors import ConfigError
from lattice_agent.usage.loopback import endpoint


@pytest.mark.parametrize(
    ("text", "shown", "addresses"),
    [
        ("127.0.0.1:10085", "127.0.0.1:10085", ("127.0.0.1",)),
        (" 127.9.8.7:1 ", "127.9.8.7:1", ("127.9.8.7",)),
        ("[::1]:65535", "[::1]:65535", ("::1",)),
        ("LocalHost:80", "localhost:80", ("127.0.0.1", "::1")),
    ],
)
def test_a_loopback_address_is_taken(text: str, shown: str, addresses: tuple[str, ...]) -> None:
    taken = endpoint(text, "-api")
    assert (str(taken), taken.addresses()) == (shown, addresses)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "-api is '', not host:port"),
        ("127.0.0.1", "-api is '127.0.0.1', not host:port"),
        ("::1:80", "-api is '::1:80', not host:port"),
        ("http://127.0.0.1:80", "-api is 'http://127.0.0.1:80', not host:port"),
        ("127.0.0.1:80/x", "-api is '127.0.0.1:80/x', not host:port"),
        ("127.0.0.1:٣", "-api is '127.0.0.1:٣', not host:port"),
        ("127.0.0.1:0", "-api has the port 0, not one from 1 to 65535"),
        ("127.0.0.1:65536", "-api has the port 65536, not one from 1 to 65535"),
        ("10.0.0.1:80", "-api points to '10.0.0.1', which is not a loopback host"),
        ("127.1:80", "-api points to '127.1', which is not a loopback host"),
        ("localhost.example:80", "-api points to 'localhost.example', which is not a loopback host"),
        ("[::ffff:127.0.0.1]:80", "-api points to '::ffff:127.0.0.1', which is not a loopback host"),
        ("[127.0.0.1]:80", "-api points to '127.0.0.1', which is not a loopback host"),
        ("[::]:80", "-api points to '::', which is not a loopback host"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        endpoint(text, "-api")
    assert str(raised.value) == sentence
    assert raised.value.hint() == "set -api to an address such as 127.0.0.1:10085"
