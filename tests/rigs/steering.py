"""What a test changes in programs that already run: a small file, which they read whenever it matters.

The shifted time is the world's: the control plane and the agents that follow it live through the same hours.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Steering:
    """How the world differs from the real one."""

    ahead_s: float = 0.0
    """Seconds by which the clocks are ahead."""
    output_limit: int | None = None
    """The control plane takes at most so many bytes a stream, whatever its leases say."""
    leases_dead: bool = False
    """The control plane answers every result with 403."""


def read(path: Path) -> Steering:
    return Steering(**json.loads(path.read_text()))


def write(path: Path, steering: Steering) -> None:
    """Replaces the file in one step: whoever reads sees all or nothing of a change."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(steering)))
    new.replace(path)
