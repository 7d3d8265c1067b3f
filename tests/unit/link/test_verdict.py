"""Every outcome of an exchange has one of six meanings."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import LinkError
from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import (
    AnswerTooLargeError,
    BadAnswerError,
    CodedAnswerError,
    DeadlineError,
    PinMismatchError,
    Reason,
    RedirectRefusedError,
    UnreachableError,
)
from lattice_agent.link.verdict import Kind, classify

GOLDEN = Path(__file__).parents[2] / "golden"


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Kind.OK) for status in (200, 201, 204, 299)),
        (401, Kind.UNAUTHORIZED),
        (429, Kind.THROTTLED),
        *((status, Kind.REFUSED) for status in (400, 402, 403, 404, 405, 409, 413, 499)),
        *((status, Kind.BROKEN) for status in (500, 502, 503, 599, 300, 304, 100, 600, 0)),
    ],
)
def test_statuses(status: int, kind: Kind) -> None:
    assert classify(answer(status)).kind is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UnreachableError("x", reason=Reason.DNS), Kind.UNREACHABLE),
        (DeadlineError("x"), Kind.UNREACHABLE),
        (PinMismatchError("x"), Kind.UNREACHABLE),
        (LinkError("x"), Kind.UNREACHABLE),
        (BadAnswerError("x"), Kind.BROKEN),
        (RedirectRefusedError("x"), Kind.BROKEN),
        (CodedAnswerError("x"), Kind.BROKEN),
        (AnswerTooLargeError("x"), Kind.BROKEN),
    ],
)
def test_errors(error: LinkError, kind: Kind) -> None:
    verdict = classify(error)
    assert (verdict.kind, verdict.text, verdict.hint) == (kind, "x", error.hint())


@pytest.mark.parametrize("status", [429, 503, 401, 400])
def test_retry_after_is_passed_on(status: int) -> None:
    assert classify(answer(status, retry_after="7")).retry_after_s == 7


def test_weak_point_31_a_refused_token_is_a_state_of_its_own() -> None:
    recorded = json.loads((GOLDEN / "wrong-token-401.json").read_text())["response"]
    verdict = classify(answer(recorded["status"], json.dumps(recorded["body"]).encode()))
    assert (verdict.kind, verdict.code) == (Kind.UNAUTHORIZED, "invalid_node_token")
    assert verdict.text == "status 401 invalid_node_token (invalid node token)"
    assert "token" in verdict.hint


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"404 page not found", b"null", b"[]", b"7", b'"error"', b"{}", b'{"error":null}', b'{"error":[]}'),
        *(b'{"error":{"code":7,"message":"x"}}', b'{"error":{"code":"x"}}', b"[" * 60_000, b"\xff\xfe"),
        b'{"error":{"code":"x","message":"y"}}' + b" " * 70_000,
    ],
)
def test_a_body_that_is_no_envelope_gives_no_code(body: bytes) -> None:
    verdict = classify(answer(404, body))
    assert (verdict.kind, verdict.code, verdict.text) == (Kind.REFUSED, "", "status 404")


def test_the_servers_words_fit_on_one_line() -> None:
    body = json.dumps({"error": {"code": "bad\nrequest", "message": "\x1b[31mred\r\n" + "x" * 5000}}).encode()
    text = classify(answer(400, body)).text
    assert text.isprintable()
    assert len(text) < 500


@given(st.integers(-1, 1000), st.binary(max_size=80), st.text(max_size=20))
def test_every_answer_has_a_verdict(status: int, body: bytes, wish: str) -> None:
    verdict = classify(answer(status, body, retry_after=wish))
    assert verdict.kind in Kind
    assert verdict.text.isprintable()
