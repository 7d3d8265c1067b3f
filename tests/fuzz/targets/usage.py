"""Counters become money: documents, statistics, gRPC and HTTP of a proxy core that may be anything."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

import httpcore
import httpx
import trio
import trio.testing

from lattice_agent.errors import ConfigError, UsageSourceError
from lattice_agent.secret import Secret
from lattice_agent.usage.billing import Billing
from lattice_agent.usage.books import UsageBooks, totals_in
from lattice_agent.usage.bounded_command import Capture, Finished
from lattice_agent.usage.file import FileSource
from lattice_agent.usage.grpc_answer import MESSAGE_LIMIT, Answer
from lattice_agent.usage.grpc_connection import GrpcConnection
from lattice_agent.usage.idle_core import Exchanged, carries_uncounted_users
from lattice_agent.usage.ledger import Moment, SourceBook, take_reading
from lattice_agent.usage.local_secret import load_local_secret
from lattice_agent.usage.loopback import endpoint, is_loopback
from lattice_agent.usage.messages import Collector, one_line, values_report
from lattice_agent.usage.normalise import ABSURD_BYTES, normalise
from lattice_agent.usage.parse import parse_statistics, parse_usage
from lattice_agent.usage.protobuf import fields
from lattice_agent.usage.statistics import user_sums
from lattice_agent.usage.stats_messages import query_answer, uptime_answer
from lattice_agent.usage.url import LoopbackUrlSource, loopback_url
from lattice_agent.usage.xray_cli import _check
from lattice_agent.wire.base import decode
from lattice_agent.wire.usage import UsageReport
from server_stub.rules.usage_report import check_report
from tests.fuzz.form import headed, pieces, scratch, text
from tests.fuzz.target import Target

T = TypeVar("T")
_NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_CONTEXT: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Not used; to make the default one for each input would cost more than the reading."""
_COLLECTOR: Final = Collector("file", _NOW)


def _document(data: bytes) -> None:
    counters = normalise(parse_usage(data))
    assert all(0 <= count <= ABSURD_BYTES for count in counters.user_bytes.values())
    book = take_reading(None, counters, Moment("boot", 10.0))
    values = dict(counters.user_bytes)
    report = decode(UsageReport, values_report("n1", values, _COLLECTOR))
    accepted = check_report(report.snapshot, _NOW)
    assert accepted.counters == values, "the server would read other counters"
    assert not any(book.totals.values()), "what was counted before the first reading is nobody's"


def _readings(data: bytes) -> None:
    """One document a line, one reading each: no total ever falls, and none grows by more than was shown."""
    book: SourceBook | None = None
    for number, line in enumerate(data.split(b"\n")[:8]):
        try:
            counters = normalise(parse_usage(line))
            after = take_reading(book, counters, Moment("boot", 10.0 * number))
        except UsageSourceError:
            continue
        if book is not None:
            _check_step(book, after, counters.user_bytes)
        book = after


def _check_step(before: SourceBook, after: SourceBook, shown: object) -> None:
    assert isinstance(shown, dict)
    for key, total in before.totals.items():
        assert 0 <= total <= after.totals[key]
        assert after.totals[key] - total <= max(shown.get(key, 0), after.raw.get(key, 0))


def _statistics(data: bytes) -> None:
    stats = parse_statistics(data)
    assert all(0 <= stat.value < 2**63 for stat in stats)
    carries_uncounted_users(stats, stats, Exchanged(10, 10))
    sums = user_sums(stats)
    assert sum(sums.values()) <= sum(stat.value for stat in stats)


def _protobuf(data: bytes) -> None:
    for number, value in fields(data, limit=1_000):
        assert 0 < number < 2**29
        assert isinstance(value, bytes) or 0 <= value < 2**64


def _stats_answer(data: bytes) -> None:
    assert 1 <= uptime_answer(data) < 2**32


def _query_answer(data: bytes) -> None:
    stats = list(query_answer(data))
    assert all(0 <= stat.value < 2**63 for stat in stats)
    user_sums(stats)


def _grpc_answer(data: bytes) -> None:
    """Lines of ``name: value``, an empty one, then the body."""
    head, _, body = data.partition(b"\n\n")
    answer = Answer()
    answer.take_headers([(name, value) for line in head.split(b"\n") for name, _, value in [line.partition(b": ")]])
    for piece in pieces(body, 1_000):
        answer.take_data(piece)
    assert answer.message() == body[5:]


def _grpc_connection(data: bytes) -> None:
    async def main() -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(data)
        await theirs.send_eof()
        async with GrpcConnection(ours, "127.0.0.1:10085") as connection:
            return await connection.call("/package.Service/Method", b"question")

    assert len(trio.run(main)) <= MESSAGE_LIMIT


def _http_source(data: bytes) -> None:
    source = LoopbackUrlSource("http://127.0.0.1:9/usage", secret=Secret("s3cret-of-the-node"))
    transport = httpx.AsyncHTTPTransport(verify=_CONTEXT, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(network_backend=httpcore.AsyncMockBackend([data]))
    source._client = httpx.AsyncClient(transport=transport, trust_env=False, event_hooks=source._client.event_hooks)
    try:
        trio.run(source.read)
        return
    except UsageSourceError as refusal:
        said, cause = str(refusal), refusal.__cause__
    assert "s3cret" not in said
    assert cause is None, "an error that we have no words for"


def _loopback(data: bytes) -> None:
    found = endpoint(text(data), "-flag")
    assert is_loopback(found.host)
    assert 0 < found.port < 2**16
    assert endpoint(str(found), "-flag") == found


def _loopback_url(data: bytes) -> None:
    url = loopback_url(text(data))
    assert url.scheme in ("http", "https")
    assert is_loopback(url.host)
    assert not url.userinfo


def _local_secret(data: bytes) -> None:
    secret = load_local_secret(Secret(text(data)), None)
    assert secret is None or httpx.Headers({"Authorization": f"Bearer {secret.reveal()}"})


class _Documents:
    """What is on disk, in memory."""

    def __init__(self, documents: dict[str, bytes]) -> None:
        self.documents = documents

    async def load(self) -> dict[str, bytes]:
        return self.documents

    async def put(self, documents: dict[str, bytes | None]) -> None:
        for name, document in documents.items():
            self.documents.pop(name, None)
            if document is not None:
                self.documents[name] = document


def _books(data: bytes) -> None:
    """Lines of a document's name, an equals sign and its content: a damaged ``state.db``."""
    named = (line.partition(b"=") for line in data.split(b"\n"))
    store = _Documents({text(name): content for name, _, content in named})

    async def main() -> None:
        books = UsageBooks(store)  # type: ignore[arg-type]  # its documents are a plain dict
        await books.load()
        assert all(total >= 0 for total in books.totals().values())
        await books.set_standing(Billing())
        assert totals_in(store.documents) == books.totals()

    trio.run(main)


def _path() -> Path:
    return scratch() / "usage.json"


def _file(data: bytes) -> None:
    _path().write_bytes(data)
    source = FileSource(_path(), run_sync=_at_once, booted_s=lambda: 0.0)
    assert trio.run(source.read) == parse_usage(data)


async def _at_once(work: Callable[[], T], /) -> T:
    return work()


def _xray_complaint(data: bytes) -> None:
    """What xray says when it fails goes into a report, on one line."""
    finished = Finished(1, Capture(10), Capture(len(data) + 1))
    finished.stderr.take(data)
    try:
        _check(finished)
    except UsageSourceError as error:
        said = one_line(str(error))
    assert said.isprintable()
    assert len(said) < 500


def _one_line_names(data: bytes) -> None:
    head, rest = headed(data)
    names = {head: "u1"} if head else {}
    users = normalise(parse_usage(rest), names).user_bytes
    assert all(first <= second for first, second in pairwise(sorted(users)))


TARGETS: Final = (
    Target(
        "usage.document",
        ("lattice_agent.usage.parse", "lattice_agent.usage.normalise", "server_stub.rules.usage_report"),
        _document,
        (UsageSourceError,),
        "counters from 0 to 2^53; the server reads the same ones; the first reading bills nothing",
        words=("user_bytes", "line_user_bytes", "core_uptime_sec", "snapshot", "stat", "collector_status"),
    ),
    Target(
        "usage.readings", ("lattice_agent.usage.ledger",), _readings, (),
        "no total falls, and none grows by more than was shown",
    ),
    Target("usage.renamed", ("lattice_agent.usage.normalise",), _one_line_names, (UsageSourceError,)),
    Target(
        "usage.statistics", ("lattice_agent.usage.statistics", "lattice_agent.usage.idle_core"), _statistics,
        (UsageSourceError,), "sums of users are no more than all counters",
        words=("user>>>u1>>>traffic>>>uplink", "inbound>>>in>>>traffic>>>downlink"),
    ),
    Target("usage.protobuf", ("lattice_agent.usage.protobuf",), _protobuf, (UsageSourceError,), "numbers in range"),
    Target("usage.uptime_answer", ("lattice_agent.usage.stats_messages",), _stats_answer, (UsageSourceError,)),
    Target(
        "usage.query_answer", ("lattice_agent.usage.stats_messages",), _query_answer, (UsageSourceError,),
        "values from 0 to 2^63-1",
    ),
    Target(
        "usage.grpc_answer", ("lattice_agent.usage.grpc_answer",), _grpc_answer, (UsageSourceError,),
        "the message is the body without its prefix",
    ),
    Target(
        "usage.grpc_connection", ("lattice_agent.usage.grpc_connection",), _grpc_connection, (UsageSourceError,),
        "ends whatever comes, within the limit",
    ),
    Target(
        "usage.http_source", ("lattice_agent.usage.url", "lattice_agent.usage.source"), _http_source,
        (UsageSourceError,), "only errors we have words for; the secret is in none",
    ),
    Target("usage.file", ("lattice_agent.usage.file",), _file, (UsageSourceError,), "the same as the document alone"),
    Target("usage.xray_complaint", ("lattice_agent.usage.xray_cli",), _xray_complaint, (), "one line of some length"),
    Target("usage.endpoint", ("lattice_agent.usage.loopback",), _loopback, (ConfigError,),
           "a loopback address, which reads the same when written", longest=1_024),
    Target("usage.url", ("lattice_agent.usage.url",), _loopback_url, (ConfigError,), "a loopback host without user",
           longest=2_048),
    Target("usage.secret", ("lattice_agent.usage.local_secret",), _local_secret, (ConfigError,), "fits a header",
           longest=4_096),
    Target("usage.books", ("lattice_agent.usage.books",), _books, (), "no negative total; written, it reads the same"),
)  # fmt: skip
