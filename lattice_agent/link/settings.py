"""The settings of the way to the control plane."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path

from lattice_agent.errors import ConfigError

_PIN_PREFIX = "sha256/"


@dataclass(frozen=True)
class LinkSettings:
    """Where the control plane is and how to talk to it. Checked when it is made; times are in seconds.

    Raises ConfigError for a value that cannot work; ``base_url`` is judged by ``transport_policy``.
    """

    base_url: str
    """``-server`` as it was given."""

    node_id: str
    """Sent in the query of every GET; empty for the one-shot modes, which have no node."""

    allow_insecure_http: bool = False
    """Cleartext to another machine is allowed, with a warning."""

    ca_file: Path | None = None
    """PEM file with the only authorities that are trusted; None means those of the system."""

    pin_spki_sha256: tuple[str, ...] = ()
    """Base64 SHA-256 of the public keys the server may have, each with or without ``sha256/``; empty means any."""

    connect_timeout_s: float = 10.0
    """Name lookup and TCP connection; and again for the TLS handshake."""

    read_timeout_s: float = 30.0
    """Longest silence while waiting for the answer: the whole exchange, since a control plane whose disk is slow says
    nothing and answers all the same, and a poll that is given up costs a lease."""

    write_timeout_s: float = 20.0
    """Longest time that one piece of the request may take to be accepted."""

    exchange_deadline_s: float = 30.0
    """Request and answer together, to the last byte."""

    requests_per_s: float = 5.0
    """The agent stays below this over any ten seconds; half of what the server grants one address."""

    def __post_init__(self) -> None:
        # The one place that writes to the frozen value: pins are kept in one spelling so that they can be compared.
        object.__setattr__(self, "pin_spki_sha256", tuple(_normal_pin(pin) for pin in self.pin_spki_sha256))
        for name in (
            "connect_timeout_s",
            "read_timeout_s",
            "write_timeout_s",
            "exchange_deadline_s",
            "requests_per_s",
        ):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} is {value}, it must be above 0 and finite")


def _normal_pin(pin: str) -> str:
    text = pin.removeprefix(_PIN_PREFIX)
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ConfigError(
            f"pin_spki_sha256 holds {pin!r}, which is not the base64 form of a SHA-256",
            hint="openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der"
            " | openssl dgst -sha256 -binary | base64",
        )
    return base64.b64encode(digest).decode("ascii")
