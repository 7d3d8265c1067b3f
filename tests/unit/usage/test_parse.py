import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.parse import DOCUMENT_LIMIT, parse_usage
from lattice_agent.usage.reading import RawUsage
from tests.golden_files import exchange

SNAPSHOT = {
    "at": "2026-01-02T04:04:05+01:00",
    "core_uptime_sec": 60,
    "user_bytes": {"a": 1},
    "line_user_bytes": {"l": {"a": 1}},
}
READ = RawUsage({"a": 1}, {"l": {"a": 1}}, 60, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def doc(value: object) -> bytes:
    return json.dumps(value).encode()


def stats(*entries: object) -> bytes:
    return doc({"stat": entries})


def refusal(document: bytes) -> str:
    with pytest.raises(UsageSourceError) as raised:
        parse_usage(document)
    return str(raised.value)


def test_a_snapshot_object() -> None:
    assert parse_usage(doc(SNAPSHOT)) == READ


def test_a_snapshot_in_an_envelope() -> None:
    assert parse_usage(doc({"snapshot": SNAPSHOT})) == READ


def test_a_list_of_statistics_sums_both_directions_and_knows_no_uptime() -> None:
    document = stats(
        {"name": "user>>>a>>>traffic>>>uplink", "value": 5},
        {"name": "user>>>a>>>traffic>>>downlink", "value": "70"},
        {"name": "user>>>b>>>traffic>>>uplink"},  # protobuf's JSON leaves a zero out
        {"name": "inbound>>>x>>>traffic>>>uplink", "value": 999},
        {"name": "user>>>a>>>online", "value": 1},
        {"name": "user>>>a>>>traffic>>>sideways", "value": 1},
    )
    assert parse_usage(document) == RawUsage({"a": 75, "b": 0})


@pytest.mark.parametrize("key", ["user_bytes", "line_user_bytes", "core_uptime_sec", "at"])
def test_one_key_is_enough_to_be_a_snapshot_and_null_is_its_zero(key: str) -> None:
    assert parse_usage(doc({key: None, "snapshot": 5, "stat": 5})) == RawUsage()


def test_year_1_is_no_time() -> None:
    assert parse_usage(doc({"at": "0001-01-01T00:00:00Z"})).at is None


def test_unknown_fields_may_hold_anything() -> None:
    assert parse_usage(b'{"user_bytes": {"a": 1}, "x": [1.5, {"y": 1, "y": 2}]}') == RawUsage({"a": 1})


def test_the_limits_of_a_counter_are_taken() -> None:
    assert parse_usage(doc({"user_bytes": {"a": 0, "b": 2**63 - 1}})).user_bytes == {"a": 0, "b": 2**63 - 1}


@pytest.mark.parametrize(
    "name", ["usage-first-report", "usage-delta", "usage-uptime-fell", "usage-line-bytes-unknown-line"]
)
def test_what_the_go_agent_sent_can_be_read_as_a_source(name: str) -> None:
    snapshot = exchange(name).body["snapshot"]
    raw = parse_usage(doc(snapshot))
    assert (raw.user_bytes, raw.core_uptime_s) == (snapshot["user_bytes"], snapshot["core_uptime_sec"])
    assert raw.line_user_bytes == snapshot.get("line_user_bytes", {})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "the usage document is empty"),
        (b" \n", "the usage document is empty"),
        (b"{", "the usage document is not valid JSON: "),
        (b'{"user_bytes": {"a": 1}}x', "the usage document is not valid JSON: "),
        (b'{"user_bytes": {"a": NaN}}', "the usage document is not valid JSON: NaN is not JSON"),
        (b'{"x": -Infinity, "user_bytes": {}}', "the usage document is not valid JSON: -Infinity is not JSON"),
        (b'{"user_bytes": {"a": ' + b"9" * 5000 + b"}}", "the usage document is not valid JSON: "),
        (b"[" * 500_000, "the usage document is nested too deeply"),
        (b"[]", "the usage document is not an object"),
        (b"null", "the usage document is not an object"),
        (b"{}", "the usage document has none of user_bytes, snapshot and stat"),
        (b'{"users": {"a": 1}}', "the usage document has none of user_bytes, snapshot and stat"),
        (b'{"user_bytes": {}, "user_bytes": {}}', "the usage document has the key 'user_bytes' twice"),
        (b'{"snapshot": null}', "snapshot is not an object"),
        (b'{"snapshot": {"at": null, "at": null}}', "snapshot has the key 'at' twice"),
        (b'{"user_bytes": []}', "user_bytes is not an object"),
        (b'{"user_bytes": {"a": 1, "b": 2, "a": 1}}', "user_bytes has the key 'a' twice"),
        (b'{"user_bytes": {"a": 1.0}}', "user_bytes['a'] is not a whole number"),
        (b'{"user_bytes": {"a": 1e3}}', "user_bytes['a'] is not a whole number"),
        (b'{"user_bytes": {"a": "1"}}', "user_bytes['a'] is not a whole number"),
        (b'{"user_bytes": {"a": true}}', "user_bytes['a'] is not a whole number"),
        (b'{"user_bytes": {"a": null}}', "user_bytes['a'] is not a whole number"),
        (b'{"user_bytes": {"a": -1}}', "user_bytes['a'] is negative"),
        (b'{"user_bytes": {"a": 9223372036854775808}}', "user_bytes['a'] is above 2^63-1"),
        (b'{"line_user_bytes": 1}', "line_user_bytes is not an object"),
        (b'{"line_user_bytes": {"l": 1}}', "line_user_bytes['l'] is not an object"),
        (b'{"line_user_bytes": {"l": {"a": -1}}}', "line_user_bytes['l']['a'] is negative"),
        (b'{"core_uptime_sec": -1}', "core_uptime_sec is negative"),
        (b'{"core_uptime_sec": 1.5}', "core_uptime_sec is not a whole number"),
        (b'{"core_uptime_sec": false}', "core_uptime_sec is not a whole number"),
        (b'{"core_uptime_sec": ""}', "core_uptime_sec is not a whole number"),
        (b'{"at": 5}', "at is not a time with an offset: 5"),
        (b'{"at": "2026-01-02T03:04:05"}', "at is not a time with an offset: '2026-01-02T03:04:05'"),
        (b'{"at": "9999-12-31T23:59:59-01:00"}', "at is not a time with an offset: '9999-12-31T23:59:59-01:00'"),
        (b'{"at": null, "collector_status": "error", "collector_error": "x"}', "the source reports an error: 'x'"),
        (b'{"stat": {}}', "stat is not a list"),
        (b'{"stat": [1]}', "stat[0] is not an object"),
        (b'{"stat": [{"value": 1}]}', "stat[0].name is not a string"),
        (b'{"stat": [{"name": "x", "name": "y"}]}', "stat[0] has the key 'name' twice"),
        (b'{"stat": [{"name": "x"}, {"name": "y", "value": -1}]}', "stat[1].value is negative"),
        (b'{"stat": [{"name": "x", "value": "-1"}]}', "stat[0].value is negative"),
        (b'{"stat": [{"name": "x", "value": "1.0"}]}', "stat[0].value is not a whole number"),
        (b'{"stat": [{"name": "x", "value": " 1"}]}', "stat[0].value is not a whole number"),
        (b'{"stat": [{"name": "x", "value": "9223372036854775808"}]}', "stat[0].value is above 2^63-1"),
        (b'{"stat": [{"name": "x"}, {"name": "x"}]}', "stat[1]: the statistic 'x' is listed twice"),
    ],
)  # fmt: skip
def test_every_refusal_names_its_place(document: bytes, message: str) -> None:
    assert refusal(document).startswith(message)


def test_a_long_document_is_refused_and_one_at_the_limit_is_not() -> None:
    document = doc({"user_bytes": {"a": 1}}).ljust(DOCUMENT_LIMIT)
    assert parse_usage(document).user_bytes == {"a": 1}
    assert refusal(document + b" ") == "the usage document is longer than 1048576 bytes"


def test_a_long_key_is_cut_in_the_message() -> None:
    assert len(refusal(doc({"user_bytes": {"x" * 10_000: -1}}))) < 120


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documents = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("user_bytes", "line_user_bytes", "core_uptime_sec", "at", "snapshot", "stat", "collector_status"), json_values
    ),
)


@given(st.binary() | st.text().map(str.encode) | documents.map(doc))
def test_weak_point_26_arbitrary_input_is_read_or_refused_and_never_negative(document: bytes) -> None:
    try:
        raw = parse_usage(document)
    except UsageSourceError:
        return
    assert all(0 <= count < 2**63 for count in raw.user_bytes.values())
    assert raw.core_uptime_s >= 0
