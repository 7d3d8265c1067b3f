"""What a source delivers, before anything is decided about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RawUsage:
    """Counters as the source states them: ids untouched, values whole numbers from 0 to 2**63 - 1.

    ``core_uptime_s`` is 0 when the source does not know it; ``at`` (aware, UTC) is ``None`` when it does not say.
    """

    user_bytes: Mapping[str, int] = field(default_factory=dict)
    line_user_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    core_uptime_s: int = 0
    at: datetime | None = None
    is_live: bool = False
    """The core itself was asked, and answered then; a document may have been written long before it was read."""
