import pytest

from lattice_agent.errors import ConfigError
from lattice_agent.secret import Secret
from lattice_agent.usage.url import LoopbackUrlSource, loopback_url


@pytest.mark.parametrize(
    "text",
    [
        *(
            "http://127.0.0.1:8080/usage",
            "http://127.9.8.7/",
            "http://[::1]:9/x?y=z",
            "http://localhost",
            "https://[::1]",
        ),
        *("http://LOCALHOST:1/", " http://LocalHost/usage "),
    ],
)
def test_trap_15_loopback_urls_are_taken(text: str) -> None:
    assert loopback_url(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://192.0.2.1/", "'192.0.2.1', which is not a loopback host"),
        ("http://0.0.0.0/", "not a loopback host"),
        ("http://[::ffff:127.0.0.1]/", "not a loopback host"),
        ("http://[::ffff:7f00:1]/", "not a loopback host"),
        ("http://localhost.example.org/", "not a loopback host"),
        ("http://localhost./", "not a loopback host"),
        ("http://127.0.0.1.example.org/", "not a loopback host"),
        ("http://2130706433/", "not a loopback host"),
        ("http://127.1/", "not a loopback host"),
        ("http://127.0.0.1:hush@192.0.2.1/", "holds a user or password"),
        ("http://user:hush@127.0.0.1/", "holds a user or password"),
        ("file:///etc/passwd", "has the scheme 'file'"),
        ("127.0.0.1:8080", "-proxy-usage-url"),
        ("http://", "not a loopback host"),
        ("http://[::1", "is not a URL"),
        ("http://127.0.0.1:99999/", "has the port 99999, not one from 1 to 65535"),
        ("http://127.0.0.1:0/", "has the port 0"),
        ("http://user:hush@[::1/", "is not a URL"),
        ("", "has the scheme ''"),
    ],
)
def test_trap_15_any_other_url_is_refused_without_showing_a_secret(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loopback_url(text)
    assert reason in str(raised.value)
    assert "hush" not in str(raised.value)
    assert raised.value.hint()


async def test_a_secret_that_no_header_can_carry_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="that an HTTP header cannot carry") as raised:
        LoopbackUrlSource("http://127.0.0.1:1/", secret=Secret("hush\r\nX-Evil: 1"))
    assert "hush" not in str(raised.value)


async def test_the_name_of_the_source_hides_the_query() -> None:
    source = LoopbackUrlSource("http://localhost:1/usage?token=hush#hush")
    assert str(source) == "proxy usage URL http://localhost:1/usage"
    await source.aclose()
