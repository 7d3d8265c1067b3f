"""The cleartext rule of protocol section 7, as a table."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import TransportRefusedError
from lattice_agent.link.transport_policy import is_loopback_host, judge_base_url

LOOPBACK = ["localhost", "127.0.0.1", "127.255.255.254", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"]
NOT_LOOPBACK = [
    *("LOCALHOST", "Localhost", "localhost.", "0.0.0.0", "127.0.0.1.", "127.1", "2130706433", "0x7f.0.0.1"),
    *("127.0.0.1.nip.test", "localhost.test", "192.0.2.1", "128.0.0.1", "126.255.255.255", "control.test"),
    *("[::]", "[::2]", "[::ffff:192.0.2.1]", "[::127.0.0.1]", "[fe80::1]"),
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_http_to_loopback_is_allowed_without_warning(host: str) -> None:
    endpoint = judge_base_url(f"http://{host}:8088", allow_insecure_http=False)
    assert endpoint.loopback
    assert endpoint.warning is None


@pytest.mark.parametrize("host", NOT_LOOPBACK)
def test_trap_15_http_to_anything_else_is_refused(host: str) -> None:
    with pytest.raises(TransportRefusedError, match="in the clear") as caught:
        judge_base_url(f"http://{host}:8088", allow_insecure_http=False)
    assert "https://" in caught.value.hint()


@pytest.mark.parametrize("host", NOT_LOOPBACK)
def test_http_to_anything_else_can_be_allowed_with_a_warning(host: str) -> None:
    endpoint = judge_base_url(f"http://{host}", allow_insecure_http=True)
    assert endpoint.warning is not None
    assert endpoint.host in endpoint.warning


@pytest.mark.parametrize("host", LOOPBACK + NOT_LOOPBACK)
def test_https_is_allowed_to_every_host(host: str) -> None:
    assert judge_base_url(f"https://{host}", allow_insecure_http=False).scheme == "https"


@pytest.mark.parametrize(
    ("given_url", "base_url"),
    [
        ("https://control.test", "https://control.test"),
        ("https://control.test///", "https://control.test"),
        ("HTTPS://control.test:8443/", "https://control.test:8443"),
        ("HTTP://127.0.0.1/", "http://127.0.0.1"),
        ("https://control.test/lattice/v1/", "https://control.test/lattice/v1"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
    ],
)
def test_slashes_are_trimmed_and_a_prefix_is_kept(given_url: str, base_url: str) -> None:
    assert judge_base_url(given_url, allow_insecure_http=False).base_url == base_url


@pytest.mark.parametrize(
    "url",
    [
        *("", "/", "https:", "https://", "https:///x", "//control.test", "control.test", "control.test:8088"),
        *("ftp://localhost", "ws://localhost", "file:///etc/passwd", "unix://localhost", "localhost:8088"),
        *("https://:8443", "https://control.test:", "https://control.test:0", "https://control.test:65536"),
        *("https://control.test:-1", "https://control.test:8443x", "https://[::1", "https://::1", "https://[::g]"),
        *("https://[127.0.0.1]", "https://[::1]x", "https://[fe80::1%25eth0]"),
        *("https://control .test", "https://control.test/a b", "https://control.test\\@localhost", "https://a\tb"),
        *("https://control.test\n", " https://control.test", "https://kontrölle.test", "https://control.test/ü"),
        *(
            "http://localhost\\.control.test",
            "http://localhost%2econtrol.test",
            "https://a,b",
            "https://control.test/\0",
        ),
    ],
)
@pytest.mark.parametrize("allow_insecure_http", [False, True])
def test_everything_unusual_is_refused(url: str, allow_insecure_http: bool) -> None:
    with pytest.raises(TransportRefusedError):
        judge_base_url(url, allow_insecure_http=allow_insecure_http)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://user:sesame@control.test", "user information"),
        ("https://user@control.test", "user information"),
        ("http://localhost@control.test", "user information"),
        ("https://control.test/?key=sesame", "query"),
        ("https://control.test?", "not of the form|query"),
        ("https://control.test/#sesame", "fragment"),
        ("ftp://user:sesame@control.test", "scheme"),
        ("sesame://x?sesame", "scheme"),
    ],
)
def test_the_refusal_says_why_and_shows_no_credential(url: str, why: str) -> None:
    with pytest.raises(TransportRefusedError, match=why) as caught:
        judge_base_url(url, allow_insecure_http=True)
    assert "sesame" not in str(caught.value).replace("'sesame'", "").replace("'sesame://x'", "")


URLS = st.builds(
    lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
    st.sampled_from(["http", "https", "HTTP", "Https", "ftp", ""]),
    st.one_of(
        st.sampled_from([*LOOPBACK, *NOT_LOOPBACK]),
        st.text("aL1.:[]@%\\/?# \té_-", max_size=12),
    ),
    st.sampled_from(["", ":1", ":8443", ":99999", ":"]),
    st.text("ab/.%2@\\ ;=", max_size=8),
)


@given(URLS)
def test_what_passes_means_the_same_to_the_http_client(url: str) -> None:
    """Else the guard would judge one host and the token go to another."""
    try:
        endpoint = judge_base_url(url, allow_insecure_http=False)
        parsed = httpx.URL(endpoint.base_url + "/api/agent/tasks")
    except (TransportRefusedError, httpx.InvalidURL):
        return
    assert parsed.scheme == endpoint.scheme
    assert parsed.host == endpoint.host.lower()
    assert parsed.userinfo == b""
    assert parsed.scheme == "https" or is_loopback_host(parsed.host)


@given(st.text(max_size=40))
def test_any_text_is_judged_or_refused(url: str) -> None:
    try:
        endpoint = judge_base_url(url, allow_insecure_http=False)
    except TransportRefusedError:
        return
    assert endpoint.scheme == "https" or endpoint.loopback
