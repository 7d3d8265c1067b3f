"""The TLS session with the control plane: who is trusted, and the pin that is checked before anything is said.

Where the pin is checked. ``ssl.SSLContext.sslobject_class`` is the documented place for a session class of one's own.
Ours finishes the ordinary handshake (chain, dates and host name are OpenSSL's) and then compares the key, all inside
``do_handshake``. Every stack above (trio's SSLStream, and with it httpcore, httpx and any WebSocket) completes
``do_handshake`` before it writes application data, so a mismatch surfaces while the request is still unsent; in TLS
1.3 not even our Finished message has left. It needs no private part of those libraries, and it follows the context:
sessions with the control plane have this one, directly or inside a proxy's tunnel, while the session with an https://
proxy has another. Sessions made with ``wrap_socket`` are not checked; nothing in the agent makes one.
"""

import ssl
from pathlib import Path

from lattice_agent.errors import ConfigError
from lattice_agent.link.errors import PinMismatchError
from lattice_agent.link.spki import spki_sha256


class PinnedSession(ssl.SSLObject):
    """A TLS session that is not usable before the peer's key was found among the context's pins."""

    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        assert isinstance(context, PinnedContext)
        check_pin(self.getpeercert(binary_form=True), context.pins)


class PinnedContext(ssl.SSLContext):
    """A client context whose sessions check ``pins`` at the end of their handshake."""

    sslobject_class = PinnedSession
    pins: frozenset[str] = frozenset()


def control_plane_context(ca_file: Path | None, pins: tuple[str, ...]) -> ssl.SSLContext:
    """TLS 1.2 or newer, host name verified against the certificate's alternative names.

    Trusts the system's authorities (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are OpenSSL's and work), or only those of
    ``ca_file``. ``pins`` are base64 SHA-256 values as ``LinkSettings`` keeps them; one match is enough, and without
    any there is no check. Raises ConfigError if the file cannot be used.
    """
    context = bare_context(pins)
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust_only(context, ca_file)
    return context


def bare_context(pins: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A client context that trusts nobody: for a link that does no TLS, it spares reading 140 certificates."""
    context: ssl.SSLContext
    if pins:
        context = pinned = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
        pinned.pins = frozenset(pins)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9110 section 4.3.4; the Go agent does not look there either
    return context


def check_pin(certificate: bytes | None, pins: frozenset[str]) -> None:
    """Raise PinMismatchError unless the DER certificate's key is among ``pins``."""
    found = spki_sha256(certificate) if certificate else "none"
    if found not in pins:
        raise PinMismatchError(f"the server's key is sha256/{found}, which is not pinned; nothing was sent to it")


def _trust_only(context: ssl.SSLContext, ca_file: Path) -> None:
    hint = "name a readable PEM file that holds the certificate of your authority"
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as exc:
        raise ConfigError(f"CA file {ca_file} holds no certificate in PEM form ({exc.reason})", hint=hint) from exc
    except OSError as exc:
        raise ConfigError(f"CA file {ca_file} cannot be read: {exc.strerror}", hint=hint) from exc
