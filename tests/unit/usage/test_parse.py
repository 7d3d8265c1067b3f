import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.parse import DOCUMENT_LIMIT, parse_usage
from lattice_agent.usage.reading import RawUsage
from tests.golden_files import exchange

GOLDEN = Path(__file__).parent / "golden"
REFUSED = json.loads((GOLDEN / "refused.json").read_text())


def doc(value: object) -> bytes:
    return json.dumps(value).encode()


def stats(*entries: object) -> bytes:
    return doc({"stat": entries})


def refusal(document: bytes) -> str:
    with pytest.raises(UsageSourceError) as raised:
        parse_usage(document)
    return str(raised.value)


@pytest.mark.parametrize("shape", ["snapshot", "envelope", "statistics"])
def test_each_accepted_shape_is_read_as_recorded(shape: str) -> None:
    """Statistics sum both directions, know no uptime, and leave a zero out, as protobuf's JSON does."""
    golden = json.loads((GOLDEN / f"accepted-{shape}.json").read_text())
    at = golden["read"].pop("at")
    expected = RawUsage(**golden["read"], at=datetime.fromisoformat(at) if at else None)
    assert parse_usage(doc(golden["document"])) == expected


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


@pytest.mark.parametrize("golden", REFUSED, ids=[golden["document"][:40] for golden in REFUSED])
def test_every_refusal_has_its_recorded_text(golden: dict[str, str]) -> None:
    assert refusal(golden["document"].encode()) == golden["error"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"user_bytes": {"a": ' + b"9" * 5000 + b"}}", "the usage document is not valid JSON: "),
        (b"[" * 500_000, "the usage document is nested too deeply"),
        (b'{"user_bytes": {"a": 1}}'.ljust(10 * 2**20), "the usage document is longer than 1048576 bytes"),
    ],
    ids=["digits", "depth", "10 MiB"],
)
def test_what_is_large_is_refused(document: bytes, message: str) -> None:
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
