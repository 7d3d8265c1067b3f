"""Runs the agent's command under the account nobody, also where the checkout lies below a directory of root's."""

import pwd
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv" / "bin"


def as_nobody() -> list[str | Path]:
    """What to put before a command so that nobody runs it."""
    nobody = pwd.getpwnam("nobody")
    switch: list[str | Path] = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    needed = [ROOT / ".venv", ROOT / "lattice_agent", Path(sys.base_prefix)]
    # Where the checkout lies below a directory that only root may enter, it is made reachable in a mount namespace.
    namespace = ["unshare", "--mount", "--propagation", "private", sys.executable, ROOT / "tools" / "reachable.py"]
    for prefix in (switch, [*namespace, *needed, "--", *switch]):
        # Twice, because setpriv still has root's rights for the first exec, and the agent restarts itself.
        again = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import lattice_agent.app'])"
        probe = subprocess.run([*prefix, BIN / "python", "-c", again], cwd="/", capture_output=True, check=False)
        if probe.returncode == 0:
            return prefix
    raise AssertionError("this checkout cannot be read by another account")
