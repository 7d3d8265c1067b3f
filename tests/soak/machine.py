"""Where a soak runs."""

import os
import platform
from pathlib import Path


def machine() -> dict[str, str]:
    """In words, for the page."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "kernel": platform.release().partition("-")[0],  # what its builder adds says nothing
        "python": platform.python_version(),
        "uid": "root" if os.geteuid() == 0 else "an unprivileged user",
    }
