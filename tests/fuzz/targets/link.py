"""What the agent reads of a control plane that may be somebody else's: answers, their headers, certificates, URLs."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import httpcore
import httpx
import trio
from httpx._transports.default import AsyncHTTPTransport

from lattice_agent.errors import ConfigError, LinkError, TransportRefusedError
from lattice_agent.link.announced import announced_features
from lattice_agent.link.answer import Answer
from lattice_agent.link.client import ControlPlane
from lattice_agent.link.features import Features
from lattice_agent.link.retry_after import retry_after_s
from lattice_agent.link.settings import LinkSettings
from lattice_agent.link.spki import MalformedCertificateError, spki_sha256, subject_public_key_info
from lattice_agent.link.tls import bare_context
from lattice_agent.link.transport_policy import Endpoint, is_loopback_host, judge_base_url
from lattice_agent.link.verdict import classify
from lattice_agent.report.config_poll import ConfigService
from lattice_agent.secret import Secret
from lattice_agent.state.clock import BootTime
from lattice_agent.tasks.decide import MAX_ID
from lattice_agent.tasks.intake import MAX_TAKEN, read_leases
from lattice_agent.usage.messages import ignored_users, says_no_profile
from lattice_agent.wire.base import WireError, decode, decode_json
from lattice_agent.wire.ext import ResultBatchAnswer
from tests.fuzz.form import headed, pieces, text
from tests.fuzz.target import Target

_URL: Final = "http://127.0.0.1:9"
_TOKEN: Final = "t" * 43
_LIMIT: Final = 32_768
_NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_CONTEXT: Final = bare_context()


class _Recorded(AsyncHTTPTransport):
    """httpx's own transport over a connection on which these pieces come."""

    def __init__(self, incoming: list[bytes]) -> None:
        super().__init__(verify=_CONTEXT, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(network_backend=httpcore.AsyncMockBackend(incoming))


def _exchange(incoming: list[bytes]) -> Answer | LinkError:
    async def main() -> Answer | LinkError:
        settings = LinkSettings(base_url=_URL, node_id="n1", requests_per_s=1e6)
        async with ControlPlane(settings, Secret(_TOKEN), transport=_Recorded(incoming)) as plane:
            try:
                return await plane.get("/api/agent/tasks", answer_limit=_LIMIT)
            except LinkError as error:
                return error

    return trio.run(main)


def _http_answer(data: bytes) -> None:
    outcome = _exchange([data])
    verdict = classify(outcome, wall_now=_NOW)
    assert verdict.text.isprintable(), verdict.text
    assert _TOKEN not in verdict.text
    in_pieces = _exchange(pieces(data, 7)) if len(data) < 2_000 else outcome
    if isinstance(outcome, Answer):
        assert len(outcome.body) <= _LIMIT
        assert outcome == in_pieces, "what comes in pieces is another answer"
        read_leases(outcome.body, BootTime("boot", 1.0))
    else:
        assert type(outcome) is type(in_pieces)


def _verdict(data: bytes) -> None:
    head, body = headed(data)
    status = int(head) if head.isascii() and head.isdigit() and len(head) == 3 else 500
    verdict = classify(Answer(status, {}, body))
    assert verdict.text.isprintable()
    assert len(verdict.text) < 500


def _retry_after(data: bytes) -> None:
    value, rest = headed(data)
    for headers in ({"retry-after": value}, {"retry-after": value, "date": text(rest)}):
        for now in (None, _NOW):
            found = retry_after_s(headers, now)
            assert found is None or 0 <= found < 1e12


class _Unused:
    """Stands where a service needs what this reading does not."""


def _config_answer(data: bytes) -> None:
    features, heard = Features(), list[object]()
    service = ConfigService(_Unused(), features, interval_s=1, on_ip_config=heard.append, rng=_Unused())  # type: ignore[arg-type]
    service._apply(data)
    announced = announced_features(decode_json(data))
    assert len(announced) <= 64
    assert all(features.has(name) for name in announced)


def _leases(data: bytes) -> None:
    found = read_leases(data, BootTime("boot", 1.0))
    assert len(found) <= MAX_TAKEN
    for lease in found:
        assert 0 < len(lease.task_id.encode()) <= MAX_ID
        assert 0 < len(lease.lease_id.encode()) <= MAX_ID
        lease.script.encode()


def _reports_answer(data: bytes) -> None:
    answer = Answer(200, {}, data)
    assert isinstance(ignored_users(answer), int)
    says_no_profile(answer)
    decode(ResultBatchAnswer, data)


def _certificate(data: bytes) -> None:
    key = subject_public_key_info(data)
    assert key in data
    assert key[0] == 0x30
    assert len(spki_sha256(data)) == 44


def _url(data: bytes) -> None:
    try:
        endpoint = judge_base_url(text(data), allow_insecure_http=False)
    except TransportRefusedError as refusal:
        said = str(refusal)
    else:
        _check_endpoint(endpoint)
        return
    assert said.isprintable()


def _check_endpoint(endpoint: Endpoint) -> None:
    url, split = httpx.URL(endpoint.base_url + "/api/agent/tasks"), urlsplit(endpoint.base_url)
    assert url.scheme == split.scheme == endpoint.scheme
    assert url.host.lower() == endpoint.host.lower(), "the client would go to another host"
    assert split.hostname == endpoint.host.lower()
    assert not url.userinfo
    assert not url.query
    assert endpoint.scheme == "https" or is_loopback_host(endpoint.host)


TARGETS: Final = (
    Target(
        "link.http_answer",
        ("lattice_agent.link.client", "lattice_agent.link.failures", "lattice_agent.link.verdict"),
        _http_answer,
        (),
        "only our errors, on one line without the token; pieces change nothing; never more than the limit",
        ("Content-Encoding: gzip", "Transfer-Encoding: chunked", "Content-Length: ", "Retry-After: ", "Location: http://"),
        longest=40_000,
    ),
    Target(
        "link.verdict", ("lattice_agent.link.verdict",), _verdict, (), "one printable line of bounded length"
    ),
    Target(
        "link.retry_after", ("lattice_agent.link.retry_after",), _retry_after, (), "nothing, or seconds from 0 on",
        longest=4_096,
    ),
    Target(
        "link.config_answer",
        ("lattice_agent.link.announced", "lattice_agent.report.config_poll"),
        _config_answer,
        (WireError,),
        "at most 64 features; what is announced is used",
    ),
    Target(
        "link.leases", ("lattice_agent.tasks.intake",), _leases, (), "at most MAX_TAKEN leases with ids that fit",
    ),
    Target(
        "link.reports_answer", ("lattice_agent.usage.messages",), _reports_answer, (WireError,),
    ),
    Target(
        "link.certificate", ("lattice_agent.link.spki",), _certificate, (MalformedCertificateError,),
        "the key is a slice of the certificate",
    ),
    Target(
        "link.url", ("lattice_agent.link.transport_policy",), _url, (ConfigError,),
        "the HTTP client and the standard library see the same host; no cleartext off this machine",
        longest=2_048,
    ),
)  # fmt: skip
