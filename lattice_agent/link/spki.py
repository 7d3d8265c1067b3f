"""The public key inside a certificate, found by a bounded walk over its DER encoding.

X.690 distinguished encoding, RFC 5280 section 4.1. A certificate is

    SEQUENCE { SEQUENCE { [0] version?, serial, signature, issuer, validity, subject, subjectPublicKeyInfo, ... }, ... }

and the pin is the SHA-256 over the whole ``subjectPublicKeyInfo`` element, header included (RFC 7469 section 2.4).
The walk reads at most nine headers, goes two levels deep, never recurses, and takes nothing from outside the
buffer; that spares the agent a cryptography library for one slice.
"""

import base64
import hashlib
from typing import Final

from lattice_agent.errors import LinkError

_SEQUENCE: Final = 0x30
_EXPLICIT_VERSION: Final = 0xA0
_FIELDS_BEFORE_KEY: Final = 5  # serial, signature, issuer, validity, subject
_MAX_LENGTH_OCTETS: Final = 3  # elements up to 16 MiB; a TLS handshake message cannot be longer


class MalformedCertificateError(LinkError):
    """The server's certificate is not DER as RFC 5280 has it."""


def spki_sha256(certificate: bytes) -> str:
    """Base64 SHA-256 of the public key of a DER certificate. Raises MalformedCertificateError."""
    key = subject_public_key_info(certificate)
    return base64.b64encode(hashlib.sha256(key).digest()).decode("ascii")


def subject_public_key_info(certificate: bytes) -> bytes:
    """The ``subjectPublicKeyInfo`` element of a DER certificate. Raises MalformedCertificateError."""
    outer, outer_end = _enter(certificate, 0, len(certificate))
    at, end = _enter(certificate, outer, outer_end)
    if at < end and certificate[at] == _EXPLICIT_VERSION:
        at = _element_end(certificate, at, end)
    for _ in range(_FIELDS_BEFORE_KEY):
        at = _element_end(certificate, at, end)
    _, key_end = _enter(certificate, at, end)
    return certificate[at:key_end]


def _enter(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Start and end of the content of the SEQUENCE at ``at``."""
    if at >= end or data[at] != _SEQUENCE:
        raise MalformedCertificateError(f"certificate has no SEQUENCE at byte {at}")
    return _content(data, at, end)


def _element_end(data: bytes, at: int, end: int) -> int:
    return _content(data, at, end)[1]


def _content(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Start and end of the content of the element at ``at``, which must lie wholly before ``end``."""
    if end - at < 2:
        raise MalformedCertificateError(f"certificate ends inside an element at byte {at}")
    start, length = at + 2, data[at + 1]
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= _MAX_LENGTH_OCTETS:  # 0 would be the indefinite form, which DER forbids
            raise MalformedCertificateError(f"certificate has a length of {octets} octets at byte {at}")
        length = int.from_bytes(data[start : min(start + octets, end)], "big")
        start += octets
    if start + length > end:
        raise MalformedCertificateError(f"certificate element at byte {at} reaches past its end")
    return start, start + length
