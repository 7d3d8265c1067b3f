"""What can go wrong in one exchange, by whose doing: the way there failed, or the answer is not usable.

No message holds a credential: not the node token, not user information of a URL.
"""

from enum import StrEnum

from lattice_agent.errors import LinkError


class Reason(StrEnum):
    """Why no answer came; stable words for status pages and tests."""

    DNS = "dns"
    CONNECT = "connect"
    PROXY = "proxy"
    TLS = "tls"
    PIN = "pin"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    LOST = "lost"
    PROTOCOL = "protocol"


_HINTS = {
    Reason.DNS: "check the host name in -server and the resolver of this machine; the agent goes on trying",
    Reason.CONNECT: "check that the control plane runs and that a firewall lets this machine reach it",
    Reason.PROXY: "check HTTPS_PROXY and NO_PROXY, and that the proxy allows CONNECT to the control plane",
    Reason.TLS: "check the certificate's names and dates, this machine's clock, and the CA file for a private CA",
    Reason.PROTOCOL: "check that -server names the control plane and not another service",
}


class UnreachableError(LinkError):
    """No answer came: name, connection, TLS, a time limit, or a connection lost half-way.

    Whether the server acted on the request is unknown once it was sent; the caller decides about trying again.
    """

    def __init__(self, message: str, *, reason: Reason, hint: str | None = None) -> None:
        super().__init__(message, hint=hint if hint is not None else _HINTS.get(reason))
        self.reason = reason


class DeadlineError(UnreachableError):
    """The exchange as a whole took longer than it may, however lively its parts were."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.DEADLINE)


class PinMismatchError(UnreachableError):
    """The server's certificate is valid but its key is not one of the pinned ones; nothing was sent."""

    default_hint = "find out who answers there; if the server's key was replaced on purpose, add the new pin"

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.PIN)


class BadAnswerError(LinkError):
    """Something answered, but not as a control plane does."""

    default_hint = "check that -server names the control plane itself and what lies in between"


class RedirectRefusedError(BadAnswerError):
    """The answer sends the agent elsewhere; it never goes, because the token would go with it."""

    default_hint = "set -server to the address the control plane really has"


class CodedAnswerError(BadAnswerError):
    """The body is compressed although the agent asks for plain bytes: its size could not be bounded."""

    default_hint = "switch off compression in the proxy before the control plane"


class AnswerTooLargeError(BadAnswerError):
    """The body is longer than this answer may be; reading stopped there."""


class StreamEndedError(UnreachableError):
    """A WebSocket that was open is so no more: closed by the server, lost, or silent for too long."""

    default_hint = "nothing is lost: the agent polls, and opens the stream again"

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.LOST)


class BadFrameError(BadAnswerError):
    """A WebSocket carries something that it must not: a frame too long, or none that the protocol knows."""
