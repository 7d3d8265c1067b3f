"""One request, one bounded answer, and the error that tells what to do next: against a real socket."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from server_stub.cli import api as api_module
from server_stub.cli.api import OperatorApi
from server_stub.cli.connection import Connection
from server_stub.cli.errors import (
    AnswerError,
    NotAllowedError,
    RequestRefusedError,
    TryLaterError,
    UnavailableError,
)
from server_stub.errors import ControlError, SettingsError
from tests.unit.server_stub_cli.rig import (
    HOSTILE,
    TOKEN,
    FakeApi,
    Reply,
    assert_harmless,
    fake_api,
    refusal,
    reply,
)

OUTER_LIMIT_S = 10.0


def test_what_is_sent(api: FakeApi) -> None:
    with OperatorApi(api.connection) as operator:
        assert operator.post(("nodes",), {"id": "é"}) == {}
        operator.get(("tasks", "t1"), {"limit": 3}, wait_s=7)

    post, get = api.asked
    assert (post.method, post.path, post.params, post.body) == ("POST", "/api/v1/nodes", {}, {"id": "é"})
    assert post.headers["authorization"] == f"Bearer {TOKEN}"
    assert post.headers["content-type"] == "application/json"
    assert post.headers["accept-encoding"] == "identity"
    assert (get.method, get.path, get.params, get.body) == (
        "GET",
        "/api/v1/tasks/t1",
        {"limit": "3", "wait_s": "7"},
        None,
    )


def test_an_id_stays_one_part_of_the_path(api: FakeApi) -> None:
    with OperatorApi(api.connection) as operator:
        operator.put(("nodes", "a/../b?c#d%e é", "profile"), {})

    assert api.asked[0].path == "/api/v1/nodes/a%2F..%2Fb%3Fc%23d%25e%20%C3%A9/profile"
    assert api.asked[0].method == "PUT"


def test_a_path_in_the_base_url_is_kept(api: FakeApi) -> None:
    with OperatorApi(Connection(f"{api.url}/lattice", TOKEN)) as operator:
        operator.get(("nodes",))

    assert api.asked[0].path == "/lattice/api/v1/nodes"


def test_proxies_and_netrc_of_the_environment_take_no_part(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    netrc = os.path.join(tmp_path, "netrc")
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", netrc)
    with fake_api() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with OperatorApi(api.connection) as operator:
            operator.get(("nodes",))
        assert proxy.asked == []
    assert api.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (refusal(400, "bad_request", "timeout_sec is 0"), RequestRefusedError, r"timeout_sec is 0 \(bad_request\)"),
        (refusal(404, "not_found", "node x not found"), RequestRefusedError, "node x not found"),
        (refusal(409, "request_failed", "task is leased"), RequestRefusedError, "task is leased"),
        (refusal(401, "unauthorized", "invalid operator token"), NotAllowedError, "invalid operator token"),
        (refusal(403, "forbidden", "no"), NotAllowedError, "no"),
        (refusal(429, "rate_limited", "rate limited"), TryLaterError, "rate limited"),
        (refusal(500, "internal_error", "internal server error"), UnavailableError, "internal server error"),
        (refusal(503, "internal_error", "starting"), TryLaterError, "starting"),
        (Reply(404, b"404 page not found"), AnswerError, "HTTP 404"),
        (Reply(502, b"<html>bad gateway</html>"), UnavailableError, "HTTP 502"),
        (Reply(405, b""), RequestRefusedError, "HTTP 405"),
        (reply({"error": "text"}, 400), RequestRefusedError, "HTTP 400"),
        (reply({"error": {}}, 400), RequestRefusedError, "HTTP 400"),
        (reply({"error": {"message": ["x"], "code": 5}}, 400), RequestRefusedError, r"\['x'\] \(5\)"),
        (Reply(200, b"not json"), AnswerError, "status 200 is not a JSON object"),
        (Reply(200, b""), AnswerError, "not a JSON object"),
        (Reply(200, b"[]"), AnswerError, "not a JSON object"),
        (Reply(200, b"\xff"), AnswerError, "not a JSON object"),
        (Reply(200, b"[" * 200_000), AnswerError, "not a JSON object"),
        (Reply(200, b'{"n": ' + b"9" * 5000 + b"}"), AnswerError, "not a JSON object"),
        (Reply(200, b'{"n": NaN}'), AnswerError, "not a JSON object"),
        (Reply(200, b'{"n": -1e999}'), AnswerError, "not a JSON object"),
        (Reply(200, b"{}", {"Content-Encoding": "gzip"}), AnswerError, "compressed"),
    ],
)
def test_what_an_answer_means(api: FakeApi, answer: Reply, kind: type[ControlError], text: str) -> None:
    api.answers(answer)
    with OperatorApi(api.connection) as operator, pytest.raises(kind, match=text) as refused:
        operator.get(("nodes",))
    assert type(refused.value) is kind


def test_the_request_id_of_a_fault_of_the_server_is_passed_on(api: FakeApi) -> None:
    api.answers(refusal(500, "internal_error", "internal server error"))
    with OperatorApi(api.connection) as operator, pytest.raises(UnavailableError) as failed:
        operator.get(("nodes",))
    assert "req_1" in failed.value.hint()


@pytest.mark.parametrize(
    ("answer", "next_step"),
    [
        (refusal(409, "task_execution_disabled", "disabled"), "kill-switch off"),
        (refusal(409, "request_failed", "only queued tasks can be cancelled"), "present state"),
        (refusal(404, "not_found", "task x not found"), "list commands"),
        (refusal(401, "unauthorized", "invalid operator token"), "--token-file"),
    ],
)
def test_a_refusal_says_the_next_step(api: FakeApi, answer: Reply, next_step: str) -> None:
    api.answers(answer)
    with OperatorApi(api.connection) as operator, pytest.raises(ControlError) as refused:
        operator.get(("nodes",))
    assert next_step in refused.value.hint()


def test_a_hostile_refusal_is_harmless_and_short(api: FakeApi) -> None:
    with OperatorApi(api.connection) as operator:
        for status in (400, 401, 429, 500, 503):
            hostile = {"message": HOSTILE * 1000, "code": HOSTILE * 1000, "request_id": HOSTILE * 1000}
            api.answers(reply({"error": hostile}, status))
            with pytest.raises(ControlError) as refused:
                operator.get(("nodes",))
            assert_harmless(str(refused.value) + refused.value.hint())
            assert len(str(refused.value) + refused.value.hint()) < 2000


@pytest.mark.parametrize("target", ["http://xn--a/", "//xn--0/", "http://[::1"])
def test_a_redirect_to_nowhere_is_one_too(api: FakeApi, target: str) -> None:
    api.answers(Reply(302, b"", {"Location": target}))

    with OperatorApi(api.connection) as operator, pytest.raises(AnswerError, match="redirect"):
        operator.get(("nodes",))


def test_a_redirect_is_not_followed(api: FakeApi) -> None:
    with fake_api() as elsewhere:
        api.answers(Reply(307, b"", {"Location": elsewhere.url + "/api/v1/nodes"}))
        with OperatorApi(api.connection) as operator, pytest.raises(AnswerError, match="redirect"):
            operator.get(("nodes",))
        assert elsewhere.asked == []


def test_an_answer_has_a_largest_size(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "ANSWER_LIMIT", 1000)
    with OperatorApi(api.connection) as operator:
        api.answers(reply({"a": "x" * 990}))
        assert len(str(operator.get(("nodes",))["a"])) == 990
        api.answers(reply({"a": "x" * 2000}))
        with pytest.raises(AnswerError, match="larger than 1000 bytes"):
            operator.get(("nodes",))


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        OperatorApi(Connection(f"http://127.0.0.1:{port}", TOKEN)) as operator,
        pytest.raises(UnavailableError, match=f"no answer from http://127.0.0.1:{port}: .*refused"),
    ):
        operator.get(("nodes",))


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"])
def test_a_connection_that_breaks_or_is_not_http(sent: bytes) -> None:
    with peer(sent, then_close=True) as url, OperatorApi(Connection(url, TOKEN)) as operator:
        with pytest.raises(UnavailableError, match="no answer from"):
            operator.get(("nodes",))


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "QUIET_S", 0.02)
    with peer(b"", then_close=False) as url, OperatorApi(Connection(url, TOKEN)) as operator:
        with pytest.raises(TryLaterError) as read:
            operator.get(("nodes",))
        with pytest.raises(TryLaterError) as changed:
            operator.post(("nodes",), {})
    assert "may have been done" not in read.value.hint()
    assert "may have been done" in changed.value.hint()


def test_an_answer_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "EXCHANGE_S", 0.0)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"
    with peer(head, then_close=False) as url, OperatorApi(Connection(url, TOKEN)) as operator:
        with pytest.raises(TryLaterError, match="not complete"):
            operator.get(("nodes",))


def test_a_ca_file_that_is_none(tmp_path: os.PathLike[str]) -> None:
    empty = os.path.join(tmp_path, "empty.pem")
    open(empty, "w").close()

    with pytest.raises(SettingsError, match="holds no PEM certificate"):
        OperatorApi(Connection("https://127.0.0.1:1", TOKEN, empty))
    with pytest.raises(SettingsError, match="No such file"):
        OperatorApi(Connection("https://127.0.0.1:1", TOKEN, empty + "x"))


@contextmanager
def peer(sent: bytes, *, then_close: bool) -> Iterator[str]:
    """A server that answers every connection with ``sent`` and then closes it, or holds it until the test is over.

    It holds nothing longer than ``OUTER_LIMIT_S``: a client that would wait for ever sees the connection end.
    """
    held: list[socket.socket] = []

    def end_all() -> None:
        for connection in held:
            connection.shutdown(socket.SHUT_RDWR)

    outer_limit = threading.Timer(OUTER_LIMIT_S, end_all)
    outer_limit.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.recv(65_536)
                connection.sendall(sent)
                if then_close:
                    connection.close()
                else:
                    held.append(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            outer_limit.cancel()
            outer_limit.join()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()
