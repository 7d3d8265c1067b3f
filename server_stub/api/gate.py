"""Who is calling, and how often.

Theory of operation. A token alone names its node or operator (256 random bits, found by their SHA-256), so callers
without a valid one are turned away before a byte of their body is read:

1. no valid token: one token of the *address's* bucket; 401, or 429 when the bucket is empty;
2. valid token: one token of the *node's* bucket, 429 when empty; then the body is read;
3. the ``node_id`` in body or query must be the token's own, else 401 and one token of the address's bucket.

So nodes behind one address don't share a budget, and nobody without a token can use up that of somebody with one.
All causes of a 401 give one answer (protocol reference 1.0).
"""

import hmac
from functools import partial
from typing import Final

from starlette.requests import HTTPConnection

from server_stub.actions.registry import note_denial
from server_stub.api.plane import Plane, plane_of
from server_stub.api.sessions import is_from_own_page, session_of
from server_stub.errors import Refused
from server_stub.ids import token_digest
from server_stub.rules.addresses import rate_key
from server_stub.store.records import Credential

_PREFIX: Final = "Bearer "
_MAX_TOKEN: Final = 256
"""Characters; ours have 43 and 47."""


def source_address(connection: HTTPConnection) -> str:
    """The other end of the socket; headers of proxies are not believed."""
    return connection.client.host if connection.client else ""


async def admit_node(connection: HTTPConnection) -> Credential:
    """Steps 1 and 2."""
    plane = plane_of(connection)
    digest = _presented(connection)
    credential = plane.store.node_of(digest) if digest else None
    if credential is None or digest is None or not hmac.compare_digest(digest, credential.token_sha256):
        raise await _denied(plane, connection, "node.auth", "no valid token")
    if credential.disabled:
        raise await _denied(plane, connection, "node.auth", f"node {credential.node_id} is disabled")
    if not plane.rates.nodes.take(credential.node_id, plane.clock.monotonic()):
        raise _too_fast()
    return credential


async def confirm_node(connection: HTTPConnection, credential: Credential, node_id: str) -> str:
    """Step 3; returns the id."""
    if node_id != credential.node_id:
        plane = plane_of(connection)
        raise await _denied(plane, connection, "node.auth", f"token of node {credential.node_id} under another id")
    return credential.node_id


async def admit_node_by_query(connection: HTTPConnection) -> str:
    """All steps, for requests that carry ``node_id`` in the query."""
    credential = await admit_node(connection)
    return await confirm_node(connection, credential, connection.query_params.get("node_id", ""))


async def admit_operator(connection: HTTPConnection) -> str:
    """The operator's name. Operators have no budget of their own: each was given the token by hand."""
    plane = plane_of(connection)
    digest = _presented(connection)
    name = plane.store.operator_of(digest) if digest else None
    if name is None:
        raise await _denied(plane, connection, "operator.auth", "no valid token")
    return name


async def admit_viewer(connection: HTTPConnection) -> str:
    """The operator's name, for what the scripts of the web page follow: the page's own cookie does instead of a token.

    Not from another page: one on another port of this host is of the same site, and a browser would send the cookie.
    It could read nothing, but hold as many streams as there may be.
    """
    if "authorization" not in connection.headers and is_from_own_page(connection):
        session = await session_of(connection)
        if session is not None:
            return session.operator
    return await admit_operator(connection)


def admit_anyone(connection: HTTPConnection) -> None:
    """For what needs no token: one token of the address's bucket."""
    plane = plane_of(connection)
    if not plane.rates.addresses.take(rate_key(source_address(connection)), plane.clock.monotonic()):
        raise _too_fast()


def _presented(connection: HTTPConnection) -> bytes | None:
    """The digest of the bearer token; the scheme is matched as it stands, case and all."""
    header = connection.headers.get("authorization", "")
    token = header.removeprefix(_PREFIX).strip()
    if not header.startswith(_PREFIX) or not token or len(token) > _MAX_TOKEN:
        return None
    return token_digest(token)


async def _denied(plane: Plane, connection: HTTPConnection, what: str, reason: str) -> Refused:
    address = source_address(connection)
    now = plane.clock.monotonic()
    if not plane.rates.addresses.take(rate_key(address), now):
        return _too_fast()
    if plane.rates.denials.take(rate_key(address), now):
        await plane.write(partial(note_denial, address=address, what=what, reason=reason, now=plane.now()))
    if what == "operator.auth":
        return Refused(401, "invalid operator token")
    return Refused(401, "invalid node token", code="invalid_node_token")


def _too_fast() -> Refused:
    return Refused(429, "rate limited")
