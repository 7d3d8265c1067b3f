"""The JSON rules that both sides share (protocol reference 1.0)."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.wire.base import UNSET_TIME, WireError, decode, decode_json, encode
from lattice_agent.wire.metrics import Heartbeat, Metrics
from lattice_agent.wire.results import ResultReport, TaskResult
from lattice_agent.wire.terminal import TerminalSessions


def result_with(json_value: bytes, field: bytes = b"stdout") -> TaskResult:
    return decode(ResultReport, b'{"result":{"' + field + b'":' + json_value + b"}}").result


@pytest.mark.parametrize("bad", [b"1.0", b"1e3", b'"1"', b"true", b"9223372036854775808", b"[1]"])
def test_trap_01_integers_are_integers(bad: bytes) -> None:
    with pytest.raises(WireError, match=r"ResultReport: result\.exit_code"):
        result_with(bad, b"exit_code")


@pytest.mark.parametrize("bad", [b'"2026-01-02T03:04:05"', b'"2026-01-02"', b"1767323045", b'"soon"', b'""'])
def test_trap_01_times_have_an_offset(bad: bytes) -> None:
    with pytest.raises(WireError, match="started_at"):
        result_with(bad, b"started_at")


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05.000000000Z"]
)
def test_time_formats_that_go_writes(text: str) -> None:
    assert result_with(f'"{text}"'.encode(), b"started_at").started_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:59", "9999-12-31T12:00:00-14:00"])
def test_a_moment_that_utc_cannot_show_is_written_as_the_last_one(text: str) -> None:
    sent = encode(result_with(f'"{text}"'.encode(), b"started_at"))
    assert b'"started_at":"9999-12-31T23:59:59.999999Z"' in sent


@pytest.mark.parametrize("text", ["0002-01-01T00:00:00+23:59", "0001-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_trap_02_year_one_is_that_of_utc(text: str) -> None:
    assert result_with(f'"{text}"'.encode(), b"started_at").started_at is None


def test_trap_02_year_one_is_unset_and_is_written_for_unset() -> None:
    assert result_with(b'"0001-01-01T00:00:00Z"', b"started_at").started_at is None
    assert f'"started_at":"{UNSET_TIME}"'.encode() in encode(TaskResult())


def test_trap_02_sessions_may_be_null() -> None:
    assert decode(TerminalSessions, b'{"sessions":null}').sessions == ()


def test_null_is_the_zero_value_and_unknown_fields_are_ignored() -> None:
    message = decode(ResultReport, b'{"node_id":null,"new":{"x":[1]},"result":{"exit_code":null,"stdout":null}}')
    assert message == ResultReport()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'"\\ud800"', "\ufffd"),
        (b'"\\udc00x"', "\ufffdx"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\ud83d\\ud83d\\ude00"', "\ufffd\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\xff\xc3"', "\ufffd\ufffd"),
        (b'"\\u0000"', "\0"),
    ],
)
def test_broken_text_reads_as_go_reads_it(raw: bytes, text: str) -> None:
    assert result_with(raw).stdout == text


@pytest.mark.parametrize("raw", [b"", b"{", b"{} {}", b"{}x", b'{"a":NaN}', b'{"a":Infinity}', b"[" * 100_000])
def test_not_exactly_one_json_value(raw: bytes) -> None:
    with pytest.raises(WireError, match="not valid JSON"):
        decode_json(raw)


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"x"', b'{"result":[]}'])
def test_wrong_shape_names_the_model(raw: bytes) -> None:
    with pytest.raises(WireError, match="ResultReport"):
        decode(ResultReport, raw)


def test_an_error_never_repeats_the_value() -> None:
    with pytest.raises(WireError) as caught:
        result_with(b'["s3cret"]')
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_trap_01_nan_never_leaves(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Metrics(cpu_percent=value)


def test_optional_object_is_left_out_when_absent() -> None:
    assert b"lattice_ext" not in encode(Heartbeat())


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_a_message_or_our_error(raw: bytes) -> None:
    with suppress(WireError):
        assert isinstance(decode(ResultReport, raw), ResultReport)


@given(
    st.text(max_size=50),
    st.integers(-(2**63), 2**63 - 1),
    st.datetimes(min_value=datetime(2, 1, 2), timezones=st.just(UTC)),
)
def test_what_we_write_we_read_back(text: str, number: int, moment: datetime) -> None:
    text = text.encode("utf-8", "replace").decode()
    message = ResultReport(result=TaskResult(stdout=text, exit_code=number, started_at=moment))
    assert decode(ResultReport, encode(message)) == message
