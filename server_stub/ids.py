"""Fresh identifiers and credentials. Credentials are stored only as SHA-256: they carry 256 random bits, so a slow
hash would protect nothing and cost the hot path."""

import base64
import hashlib
import secrets
import uuid

OPERATOR_PREFIX = "lop_"


def new_id(prefix: str, characters: int = 16) -> str:
    """``prefix`` and so many random characters of lower-case base32."""
    raw = secrets.token_bytes((characters * 5 + 7) // 8)
    return prefix + base64.b32encode(raw).decode("ascii").lower()[:characters]


def new_request_id() -> str:
    """Goes out as ``X-Lattice-Request-Id`` and in the error envelope."""
    return new_id("req_")


def new_lease_id() -> str:
    return new_id("lease_", 32)


def new_node_token() -> str:
    """32 random bytes as 43 characters of unpadded URL-safe base64 (protocol reference 1.0)."""
    return secrets.token_urlsafe(32)


def new_operator_token() -> str:
    """``lop_`` and 43 characters; the prefix lets a secret scanner recognise a leaked one."""
    return OPERATOR_PREFIX + secrets.token_urlsafe(32)


def new_session_secret() -> str:
    """Of a cookie or a form: 256 random bits."""
    return secrets.token_urlsafe(32)


def new_identity() -> str:
    """The UUIDv4 that the server mints for a node, informational (protocol reference 1.4)."""
    return str(uuid.uuid4())


def token_digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
