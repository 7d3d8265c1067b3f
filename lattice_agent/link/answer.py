"""One answer of the control plane, as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """A complete answer, of any status but 3xx. Headers and body are not shown: they may hold scripts."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case; values of a repeated header joined by a comma."""

    body: bytes = field(repr=False)
    """The bytes as sent, never decoded."""
